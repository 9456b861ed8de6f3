"""Records spans with OpenTelemetry's SDK. Entry point: `Recorder`.

`tracing.py` imports this module when the first span is recorded, because it imports OpenTelemetry.
"""

from __future__ import annotations

import contextlib
import types
from typing import TYPE_CHECKING, Any

from opentelemetry import context, trace

from aos.adapters.telemetry.attributes import ERROR_TYPE, convert_attributes
from aos.adapters.telemetry.trace_context import (
    current_traceparent,
    make_child_traceparent,
    trace_id,
)
from aos.errors import AosError

if TYPE_CHECKING:  # the ports import the whole domain, which the start of an app does not need
    from aos.ports.telemetry import Span, SpanKind

ERROR_CODE = "error_code"
"""`error.type` in a name of our own, because Azure Monitor's exporter drops that."""
_KINDS: dict[SpanKind, trace.SpanKind] = {
    "internal": trace.SpanKind.INTERNAL,
    "server": trace.SpanKind.SERVER,
    "client": trace.SpanKind.CLIENT,
    "producer": trace.SpanKind.PRODUCER,
    "consumer": trace.SpanKind.CONSUMER,
}


class Recorder:
    """Opens spans with the provider of the process."""

    def __init__(self, name: str) -> None:
        self._tracer = trace.get_tracer(name)

    def open(
        self, name: str, kind: SpanKind, parent: str | None, attributes: dict[str, Any]
    ) -> contextlib.AbstractContextManager[Span]:
        """Make a span that is recorded while somebody is inside, in the trace of `parent`."""
        return _OpenSpan(self._tracer, name, _KINDS[kind], parent, attributes)


class RecordedSpan:
    """A span of OpenTelemetry."""

    def __init__(self, span: trace.Span, traceparent: str) -> None:
        self._span = span
        self._traceparent = traceparent

    @property
    def traceparent(self) -> str:
        """The traceparent for the work that this span causes."""
        return self._traceparent

    def set(self, **attributes: object) -> None:
        """Add attributes. None is left out; `error.type` marks the span as failed."""
        values = convert_attributes(attributes)
        if ERROR_TYPE in values:
            values[ERROR_CODE] = str(values[ERROR_TYPE])
            self._span.set_status(trace.StatusCode.ERROR, values[ERROR_CODE])
        self._span.set_attributes(values)


class _OpenSpan:
    """Records a span while somebody is inside.

    It is one class, because the generators of OpenTelemetry and of `contextlib` that do the same
    take half as long as the span itself.
    """

    def __init__(
        self,
        tracer: trace.Tracer,
        name: str,
        kind: trace.SpanKind,
        parent: str | None,
        attributes: dict[str, Any],
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._kind = kind
        self._parent = parent
        self._attributes = attributes

    def __enter__(self) -> Span:
        parent = self._parent or current_traceparent.get()
        self._span = self._tracer.start_span(
            self._name,
            context=_make_context(parent),
            kind=self._kind,
            attributes=self._attributes,
            record_exception=False,
            set_status_on_exception=False,
        )
        self._recorded = RecordedSpan(self._span, _read_traceparent(self._span, parent))
        self._attached = context.attach(trace.set_span_in_context(self._span))
        self._token = current_traceparent.set(self._recorded.traceparent)
        return self._recorded

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        if isinstance(error, Exception):
            code = error.code if isinstance(error, AosError) else type(error).__name__
            self._recorded.set(**{ERROR_TYPE: code})
        try:
            current_traceparent.reset(self._token)
            context.detach(self._attached)
        finally:
            self._span.end()


def _make_context(parent: str | None) -> context.Context | None:
    """Return the context of the parent, a valid traceparent, or None for the task's own: without a
    parent, or in the same trace."""
    if parent is None:
        return None
    trace_in_hex = trace_id(parent)
    number = int(trace_in_hex, 16)
    if trace.get_current_span().get_span_context().trace_id == number:
        return None
    _, _, span_id, flags, *_ = parent.split("-")
    remote = trace.SpanContext(
        trace_id=number,
        span_id=int(span_id, 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(int(flags, 16)),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(remote), context.Context())


def _read_traceparent(span: trace.Span, parent: str | None) -> str:
    """Return the span's traceparent, or a new one if no provider recorded the span."""
    own = span.get_span_context()
    text = f"00-{own.trace_id:032x}-{own.span_id:016x}-{int(own.trace_flags):02x}"
    return text if own.is_valid else make_child_traceparent(parent)
