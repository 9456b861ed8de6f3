"""Makes spans, with OpenTelemetry or without. Entry point: `Tracer.span`.

`PlainTracer` records nothing and only passes the trace on. `OpenTelemetryTracer` makes real spans
(`recording.py`). Neither records the text of an exception, because it may contain
parts of a conversation.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from aos.adapters.telemetry.attributes import TRACER_NAME, convert_attributes
from aos.adapters.telemetry.trace_context import (
    current_traceparent,
    is_valid_traceparent,
    make_child_traceparent,
)

if TYPE_CHECKING:  # the ports import the whole domain, which the start of an app does not need
    from aos.adapters.telemetry.recording import Recorder
    from aos.ports.telemetry import Span, SpanKind


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


class OpenTelemetryTracer:
    """Makes spans with the provider of the process. The first one imports OpenTelemetry (0.1 to 0.3
    s)."""

    @functools.cached_property
    def _recorder(self) -> Recorder:
        """What records the spans. The provider's tracer is looked up once: that costs as much as a
        span."""
        from aos.adapters.telemetry.recording import Recorder

        return Recorder(TRACER_NAME)

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
        return self._recorder.open(name, kind, parent, convert_attributes(attributes))


@contextlib.contextmanager
def _set_current(traceparent: str) -> Iterator[None]:
    token = current_traceparent.set(traceparent)
    try:
        yield
    finally:
        current_traceparent.reset(token)
