"""Makes spans, with OpenTelemetry or without. Entry point: `Tracer.span`.

`PlainTracer` records nothing and only carries the trace on; `OpenTelemetryTracer` makes real spans
with whatever provider the process has. Neither records what an exception says: it may hold words
of a conversation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from aos.adapters.telemetry.trace_context import child_traceparent, trace_id, valid_traceparent
from aos.errors import AosError

if TYPE_CHECKING:  # the ports bring the whole domain along, and an app's start needs none of it
    from opentelemetry import trace

    from aos.ports.telemetry import Span, SpanKind

TRACER_NAME = "aos"
ERROR_TYPE = "error.type"
current_traceparent: ContextVar[str | None] = ContextVar("aos_traceparent", default=None)
"""The traceparent of the span that this task is in: for log lines, and spans without a parent."""


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
        """A span in the trace of `traceparent`, else in the task's own, else in a new one."""
        ...


class PlainSpan:
    """A span that nothing records."""

    def __init__(self, traceparent: str) -> None:
        self._traceparent = traceparent

    @property
    def traceparent(self) -> str:
        """What work caused by this span carries on."""
        return self._traceparent

    def set(self, **attributes: object) -> None:
        """Nobody would see them."""


class PlainTracer:
    """Carries traces on without recording; imports nothing."""

    @contextlib.contextmanager
    def span(
        self,
        name: str,
        *,
        kind: SpanKind,
        traceparent: str | None,
        attributes: Mapping[str, object],
    ) -> Iterator[Span]:
        """A span of its own id in the same trace."""
        parent = traceparent if valid_traceparent(traceparent) else current_traceparent.get()
        span = PlainSpan(child_traceparent(parent))
        with _current(span.traceparent):
            yield span


class RecordedSpan:
    """A span of OpenTelemetry."""

    def __init__(self, span: trace.Span, traceparent: str) -> None:
        self._span = span
        self._traceparent = traceparent

    @property
    def traceparent(self) -> str:
        """What work caused by this span carries on."""
        return self._traceparent

    def set(self, **attributes: object) -> None:
        """Add attributes; None is left out, and `error.type` marks the span as failed."""
        values = attribute_values(attributes)
        for name, value in values.items():
            self._span.set_attribute(name, value)
        if ERROR_TYPE in values:
            from opentelemetry.trace import StatusCode

            self._span.set_status(StatusCode.ERROR, str(values[ERROR_TYPE]))


class OpenTelemetryTracer:
    """Spans with the process's provider; OpenTelemetry is loaded by the first (0.1 to 0.3 s)."""

    @contextlib.contextmanager
    def span(
        self,
        name: str,
        *,
        kind: SpanKind,
        traceparent: str | None,
        attributes: Mapping[str, object],
    ) -> Iterator[Span]:
        """A recorded span; an error in it sets its status, with the error's code as type.

        Its parent is the span that the task is in (the Functions worker puts each call below the
        host's own), unless `traceparent` names another trace.
        """
        from opentelemetry import trace

        parent = traceparent if valid_traceparent(traceparent) else current_traceparent.get()
        with trace.get_tracer(TRACER_NAME).start_as_current_span(
            name,
            context=_context(parent),
            kind=trace.SpanKind[kind.upper()],
            attributes=attribute_values(attributes),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            recorded = RecordedSpan(span, _carried(span, parent))
            try:
                with _current(recorded.traceparent):
                    yield recorded
            except Exception as error:
                code = error.code if isinstance(error, AosError) else type(error).__name__
                recorded.set(**{ERROR_TYPE: code})
                raise


def attribute_values(attributes: Mapping[str, object]) -> dict[str, Any]:
    """What OpenTelemetry takes: text, numbers and booleans as they are, the rest as text."""
    return {
        name: value if isinstance(value, str | bool | int | float) else str(value)
        for name, value in attributes.items()
        if value is not None
    }


@contextlib.contextmanager
def _current(traceparent: str) -> Iterator[None]:
    token = current_traceparent.set(traceparent)
    try:
        yield
    finally:
        current_traceparent.reset(token)


def _context(parent: str | None) -> Any:
    """The context of the parent; None is the task's own: without a parent, and in its trace."""
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    around = trace.get_current_span().get_span_context()
    if parent is None or f"{around.trace_id:032x}" == trace_id(parent):
        return None

    return TraceContextTextMapPropagator().extract({"traceparent": parent})


def _carried(span: trace.Span, parent: str | None) -> str:
    """The span's traceparent; where no provider made a span of it, one of our own."""
    context = span.get_span_context()
    text = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
    return text if context.is_valid else child_traceparent(parent)
