"""Makes the spans of Azure's Functions host around calls. Entry points: `attach`, `record`.

It imports OpenTelemetry, so it is imported when the first call is traced. What `attach` does costs
little, because the apps' processor time is measured, and in Azure the host makes the ids in a
process of its own; the worker only reads and attaches them.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()
_TRACED = trace.TraceFlags(trace.TraceFlags.SAMPLED)
STATUS = "http.response.status_code"


@contextlib.contextmanager
def attach(traceparent: str) -> Iterator[None]:
    """Make the calls inside children of a span of the host that is not exported here."""
    token = context.attach(_make_host_context(traceparent))
    try:
        yield
    finally:
        context.detach(token)


@contextlib.contextmanager
def record(name: str, request: Mapping[str, str] | None, traceparent: str) -> Iterator[None]:
    """Make the calls inside children of an exported span with what the host's row has.

    `request` describes an HTTP request; without it the span is that of a message.
    """
    with trace.get_tracer("devhost").start_as_current_span(
        name,
        context=_PROPAGATOR.extract({"traceparent": traceparent}),
        kind=trace.SpanKind.CONSUMER if request is None else trace.SpanKind.SERVER,
        attributes=request or {},
        record_exception=False,
    ):
        yield


def set_status(status: int) -> None:
    """Add the status of an HTTP response to the host's span, if that is recorded."""
    trace.get_current_span().set_attribute(STATUS, status)


def _make_host_context(traceparent: str) -> Any:
    """Return the context of the host's own span, in the caller's trace or in a new one."""
    carried = _PROPAGATOR.extract({"traceparent": traceparent}) if traceparent else None
    caller = trace.INVALID_SPAN_CONTEXT
    if carried is not None:
        caller = trace.get_current_span(carried).get_span_context()
    own = trace.SpanContext(
        trace_id=caller.trace_id if caller.is_valid else random.getrandbits(128) or 1,
        span_id=random.getrandbits(64) or 1,
        is_remote=True,
        trace_flags=caller.trace_flags if caller.is_valid else _TRACED,
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(own))
