"""Makes spans, with OpenTelemetry or without. Entry point: `Tracer.span`.

`PlainTracer` records nothing and only passes the trace on. `OpenTelemetryTracer` makes real spans
with the provider of the process. Neither records the text of an exception, because it may contain
parts of a conversation.
"""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from aos.adapters.telemetry.trace_context import (
    is_valid_traceparent,
    make_child_traceparent,
    trace_id,
)
from aos.errors import AosError

if TYPE_CHECKING:  # the ports import the whole domain, which the start of an app does not need
    from opentelemetry import trace

    from aos.ports.telemetry import Span, SpanKind

TRACER_NAME = "aos"
ERROR_TYPE = "error.type"
ERROR_CODE = "error_code"
"""The same in a name of our own: Azure Monitor's exporter drops `error.type`."""
current_traceparent: ContextVar[str | None] = ContextVar("aos_traceparent", default=None)
"""The traceparent of the current task's span, for log lines and for spans without a parent."""


class Tracer(Protocol):
    """Makes spans."""

    def span(
        self,
        name: str,
        *,
        kind: SpanKind,
        traceparent: str | None,
        attributes: Mapping[str, object],
    ) -> contextlib.AbstractContextManager[Span]:
        """Make a span in the trace of `traceparent`, else in the current trace, else in a new
        one."""
        ...


class PlainSpan:
    """A span that is not recorded."""

    def __init__(self, traceparent: str) -> None:
        self._traceparent = traceparent

    @property
    def traceparent(self) -> str:
        """The traceparent for the work that this span causes."""
        return self._traceparent

    def set(self, **attributes: object) -> None:
        """Ignore the attributes, because the span is not recorded."""


class PlainTracer:
    """Passes traces on without recording. Imports nothing."""

    @contextlib.contextmanager
    def span(
        self,
        name: str,
        *,
        kind: SpanKind,
        traceparent: str | None,
        attributes: Mapping[str, object],
    ) -> Iterator[Span]:
        """Make a new span id in the same trace."""
        parent = traceparent if is_valid_traceparent(traceparent) else current_traceparent.get()
        span = PlainSpan(make_child_traceparent(parent))
        with _set_current(span.traceparent):
            yield span


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
            from opentelemetry.trace import StatusCode

            values[ERROR_CODE] = str(values[ERROR_TYPE])
            self._span.set_status(StatusCode.ERROR, values[ERROR_CODE])
        self._span.set_attributes(values)


class OpenTelemetryTracer:
    """Makes spans with the provider of the process. The first one imports OpenTelemetry (0.1 to 0.3
    s)."""

    @functools.cached_property
    def _tracer(self) -> trace.Tracer:
        """The provider's tracer, which is looked up once: that costs as much as a span."""
        from opentelemetry import trace

        return trace.get_tracer(TRACER_NAME)

    def span(
        self,
        name: str,
        *,
        kind: SpanKind,
        traceparent: str | None,
        attributes: Mapping[str, object],
    ) -> contextlib.AbstractContextManager[Span]:
        """Make a recorded span. An error inside sets its status, with the error's code as type.

        The parent is the current span (the Functions worker makes each call a child of the host's
        span), unless `traceparent` names another trace.
        """
        parent = traceparent if is_valid_traceparent(traceparent) else None
        return _OpenSpan(self._tracer, name, kind, parent, convert_attributes(attributes))


class _OpenSpan:
    """Records a span while somebody is inside.

    It is one class, because the generators of OpenTelemetry and of `contextlib` that do the same
    take half as long as the span itself.
    """

    def __init__(
        self,
        tracer: trace.Tracer,
        name: str,
        kind: SpanKind,
        parent: str | None,
        attributes: dict[str, Any],
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._kind = kind
        self._parent = parent
        self._attributes = attributes

    def __enter__(self) -> Span:
        from opentelemetry import context, trace

        parent = self._parent or current_traceparent.get()
        self._span = self._tracer.start_span(
            self._name,
            context=_make_context(parent),
            kind=trace.SpanKind[self._kind.upper()],
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
        from opentelemetry import context

        if isinstance(error, Exception):
            code = error.code if isinstance(error, AosError) else type(error).__name__
            self._recorded.set(**{ERROR_TYPE: code})
        try:
            current_traceparent.reset(self._token)
            context.detach(self._attached)
        finally:
            self._span.end()


def convert_attributes(attributes: Mapping[str, object]) -> dict[str, Any]:
    """Convert values for OpenTelemetry: text, numbers and booleans unchanged, all others to
    text."""
    return {
        name: value if isinstance(value, str | bool | int | float) else str(value)
        for name, value in attributes.items()
        if value is not None
    }


@contextlib.contextmanager
def _set_current(traceparent: str) -> Iterator[None]:
    token = current_traceparent.set(traceparent)
    try:
        yield
    finally:
        current_traceparent.reset(token)


def _make_context(parent: str | None) -> Any:
    """Return the context of the parent, or None for the task's own: without a parent, or in the
    same trace."""
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    around = trace.get_current_span().get_span_context()
    if parent is None or f"{around.trace_id:032x}" == trace_id(parent):
        return None

    return TraceContextTextMapPropagator().extract({"traceparent": parent})


def _read_traceparent(span: trace.Span, parent: str | None) -> str:
    """Return the span's traceparent, or a new one if no provider recorded the span."""
    context = span.get_span_context()
    text = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
    return text if context.is_valid else make_child_traceparent(parent)
