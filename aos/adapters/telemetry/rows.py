"""Writes the rows of AOS's own spans and custom events for Azure Monitor's exporter. Entry point:
`shorten_export`.

The exporter converts each span through generated models, which costs several times what the span
itself does. Here a row is written directly as the JSON that the exporter would send; it still
sends, retries and stores it. A span that AOS has not made, or that has anything unusual, is
converted by the exporter. ADR 0089 says why private parts are replaced; if the exporter does not
have them, nothing is replaced.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from azure.monitor.opentelemetry.exporter import AzureMonitorTraceExporter
from opentelemetry import trace
from opentelemetry._logs import NoOpLogger, get_logger_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from aos.adapters.telemetry.attributes import CUSTOM_EVENTS_LOGGER, ERROR_TYPE, TRACER_NAME

LONGEST_VALUE = 8 * 1024
LONGEST_NAME = 1024
LONGEST_KEY = 150
SCHEMA = 2
SAMPLE_RATE = "_MS.sampleRate"
METHOD, ROUTE, STATUS = "http.request.method", "http.route", "http.response.status_code"
SYSTEM, DESTINATION = "messaging.system", "messaging.destination"
MODEL_SYSTEM = "gen_ai.system"
_FIELDS = frozenset(
    {
        *(SAMPLE_RATE, METHOD, ROUTE, STATUS, SYSTEM, DESTINATION, ERROR_TYPE),
        *("messaging.operation.type", "messaging.destination.name"),
    }
)
"""Attributes that are no customDimensions: fields are made of them, or they are dropped."""
_DIMENSIONS = frozenset(
    {
        *("cloudevents.event_id", "cloudevents.event_type"),
        *("gen_ai.agent.id", "gen_ai.agent.name", "gen_ai.conversation.id"),
        *("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"),
        *("gen_ai.response.model", MODEL_SYSTEM, "gen_ai.tool.call.id", "gen_ai.tool.name"),
        *("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"),
    }
)
"""Conventional attributes without a meaning of their own to the exporter, as all names without a
dot are."""
_OF_ONE_ROW = frozenset({"ai.operation.id", "ai.operation.name", "ai.operation.parentId"})


class Row(dict[str, Any]):
    """An envelope as JSON, where the exporter expects a model."""

    def as_dict(self) -> dict[str, Any]:
        """Return the form in which the exporter stores what it could not send."""
        return self


class RowWriter:
    """Converts spans in place of the exporter's own method, which `convert` is."""

    def __init__(self, convert: Callable[[ReadableSpan], Any]) -> None:
        self._convert = convert
        self._resource: Resource | None = None
        self._tags: dict[str, str] = {}
        self._key: str | None = None

    def __call__(self, span: ReadableSpan) -> Any:
        """Return the row of the span, or the exporter's own envelope."""
        scope = span.instrumentation_scope
        if scope is None or scope.name not in (TRACER_NAME, CUSTOM_EVENTS_LOGGER):
            return self._convert(span)
        if span.resource is not self._resource:
            self._learn(span)
        if scope.name == CUSTOM_EVENTS_LOGGER:
            name, data = "Event", _describe_event(span)
        else:
            described = _describe(span)
            if described is None:
                return self._convert(span)
            name, data = described
        return self._wrap(span, name, data)

    def _learn(self, span: ReadableSpan) -> None:
        """Read from an envelope of the exporter what is the same for all rows of the resource."""
        envelope = self._convert(span)
        self._tags = {k: v for k, v in envelope.tags.items() if k not in _OF_ONE_ROW}
        self._key = envelope.instrumentation_key
        self._resource = span.resource

    def _wrap(self, span: ReadableSpan, kind: str, data: dict[str, Any]) -> Row:
        assert span.context is not None
        assert span.start_time is not None
        tags = {**self._tags, "ai.operation.id": f"{span.context.trace_id:032x}"}
        if span.parent is not None and (span.parent.span_id or kind == "Event"):
            tags["ai.operation.parentId"] = f"{span.parent.span_id:016x}"
        if kind != "Event":
            tags["ai.operation.name"] = data["name"]
        began = datetime.fromtimestamp(span.start_time / 1e9, tz=UTC).isoformat()
        row = Row(
            name=f"Microsoft.ApplicationInsights.{kind}",
            iKey=self._key,
            tags=tags,
            time=began.replace("+00:00", "Z"),
            data={"baseData": data, "baseType": f"{kind}Data"},
        )
        rate = (span.attributes or {}).get(SAMPLE_RATE)
        if rate is not None:
            row["sampleRate"] = rate
        return row


class EventRecorder:
    """Hands custom events to the processor of the spans, so both leave in one request."""

    def __init__(self, processor: SpanProcessor, resource: Resource) -> None:
        self._processor = processor
        self._resource = resource
        self._scope = InstrumentationScope(CUSTOM_EVENTS_LOGGER)

    def record(self, name: str, dimensions: Mapping[str, Any]) -> None:
        """Record an event of the current span's trace; sampling does not apply to events."""
        around = trace.get_current_span().get_span_context()
        now = time.time_ns()
        event = ReadableSpan(
            name=name,
            context=trace.SpanContext(
                trace_id=around.trace_id,
                span_id=around.span_id,
                is_remote=False,
                trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
            ),
            parent=around,
            resource=self._resource,
            attributes=dimensions,
            instrumentation_scope=self._scope,
            start_time=now,
            end_time=now,
        )
        self._processor.on_end(event)


def shorten_export() -> EventRecorder | None:
    """Make Azure Monitor's exporter in this process write AOS's rows directly.

    Returns what then records custom events; None if the process has no such exporter, or if its
    settings keep log records from being exported, which custom events are otherwise.
    """
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        return None
    active = getattr(provider, "_active_span_processor", None)
    for processor in getattr(active, "_span_processors", ()):
        exporter = getattr(processor, "span_exporter", None)
        convert = getattr(exporter, "_span_to_envelope", None)
        if isinstance(exporter, AzureMonitorTraceExporter) and callable(convert):
            if not isinstance(convert, RowWriter):
                vars(exporter)["_span_to_envelope"] = RowWriter(convert)
            return EventRecorder(processor, provider.resource) if _are_logs_exported() else None
    return None


def _are_logs_exported() -> bool:
    """Whether neither `OTEL_LOGS_EXPORTER` nor `OTEL_SDK_DISABLED` has turned log records off."""
    provider = get_logger_provider()
    if not isinstance(provider, LoggerProvider):
        return False
    return not isinstance(provider.get_logger(CUSTOM_EVENTS_LOGGER), NoOpLogger)


def _describe(span: ReadableSpan) -> tuple[str, dict[str, Any]] | None:
    """Return the kind and the data of the row, or None if the exporter must convert the span."""
    attributes = span.attributes or {}
    dimensions = _read_dimensions(attributes)
    kind = span.kind.name
    if dimensions is None or span.events or span.links or len(span.name) > LONGEST_NAME:
        return None
    if kind in ("SERVER", "CONSUMER"):
        return "Request", _describe_request(span, attributes, dimensions)
    if kind == "PRODUCER" or METHOD in attributes or SYSTEM in attributes:
        return None
    return "RemoteDependency", _describe_dependency(span, attributes, dimensions)


def _read_dimensions(attributes: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the customDimensions, or None if the exporter gives an attribute a meaning."""
    found = {}
    for name, value in attributes.items():
        if name in _FIELDS:
            continue
        if "." in name and name not in _DIMENSIONS:
            return None
        if len(name) <= LONGEST_KEY:
            found[name] = str(value)[:LONGEST_VALUE]
    return found


def _describe_request(
    span: ReadableSpan, attributes: Mapping[str, Any], dimensions: dict[str, str]
) -> dict[str, Any]:
    data = {
        **_describe_work(span, dimensions),
        "responseCode": "0",
        "success": span.status.is_ok,
    }
    if METHOD in attributes:
        status = int(attributes.get(STATUS) or 0)
        if ROUTE in attributes:
            data["name"] = f"{attributes[METHOD]} {attributes[ROUTE]}"
        data["url"] = ""
        data["responseCode"] = str(status)
        data["success"] = span.status.is_ok and status != 0 and not 400 <= status < 500
    elif SYSTEM in attributes and attributes.get(DESTINATION):
        data["source"] = attributes[DESTINATION]
    return data


def _describe_dependency(
    span: ReadableSpan, attributes: Mapping[str, Any], dimensions: dict[str, str]
) -> dict[str, Any]:
    of_client = span.kind.name == "CLIENT"
    system = attributes.get(MODEL_SYSTEM)
    data = {
        **_describe_work(span, dimensions),
        "resultCode": "0",
        "success": span.status.is_ok,
        "type": f"GenAI | {system}" if system else "N/A" if of_client else "InProc",
    }
    if of_client and system:
        data["target"] = system
    return data


def _describe_work(span: ReadableSpan, dimensions: dict[str, str]) -> dict[str, Any]:
    assert span.context is not None
    return {
        "ver": SCHEMA,
        "name": span.name,
        "id": f"{span.context.span_id:016x}",
        "duration": _write_duration((span.end_time or 0) - (span.start_time or 0)),
        "properties": dimensions,
        "measurements": {},
    }


def _describe_event(span: ReadableSpan) -> dict[str, Any]:
    attributes = span.attributes or {}
    dimensions = {
        name: str(value)[:LONGEST_VALUE]
        for name, value in attributes.items()
        if len(name) <= LONGEST_KEY
    }
    dimensions.setdefault("logger_name", CUSTOM_EVENTS_LOGGER)
    return {"ver": SCHEMA, "name": span.name, "properties": dimensions, "measurements": {}}


def _write_duration(nanoseconds: int) -> str:
    """Write a duration as .NET does: days, hours, minutes, seconds and milliseconds."""
    seconds, milliseconds = divmod((nanoseconds + 500_000) // 1_000_000, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}.{hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03}"
