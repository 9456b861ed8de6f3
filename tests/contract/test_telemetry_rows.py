"""The rows that AOS writes for Azure Monitor's exporter are those that the exporter would send."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.monitor.opentelemetry.exporter import (
    ApplicationInsightsSampler,
    AzureMonitorLogExporter,
    AzureMonitorTraceExporter,
)
from azure.monitor.opentelemetry.exporter._generated.exporter._utils.model_base import (
    SdkJSONEncoder,
)
from opentelemetry import trace
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from aos.adapters.telemetry.attributes import CUSTOM_EVENTS_LOGGER, TRACER_NAME
from aos.adapters.telemetry.reporting import CUSTOM_EVENT, make_telemetry
from aos.adapters.telemetry.rows import EventRecorder, Row, RowWriter, shorten_export
from aos.errors import RunFailed, TransientError
from benchmarks.ingestion import INSTRUMENTATION_KEY, Ingestion, run_ingestion
from benchmarks.telemetry import CONNECTION_STRING, make_deployed_settings
from tests.unit.entrypoints.laptop_in_memory import InMemory
from tests.unit.finished_spans import finished_spans

RESOURCE = Resource.create(
    {"service.name": "aos-main-prod", "service.version": "1.2", "service.instance.id": "i-1"}
)
ROUTE = "/api/agents/{agent_id}/run"
HTTP = {"entry": "http", "http.request.method": "POST", "http.route": ROUTE}
BUS = {
    "entry": "servicebus",
    "messaging.system": "servicebus",
    "messaging.operation.type": "process",
    "messaging.destination.name": "aos-realm",
    "messaging.destination": "aos-realm",
    "message_id": "m-1",
    "delivery_count": 1,
}
CHAT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.system": "openai",
    "gen_ai.request.model": "gpt-5",
    "gen_ai.conversation.id": "board",
    "gen_ai.usage.input_tokens": 7,
}
LONG = {"text": "x" * 9000, "k" * 151: "dropped", "flag": True, "ratio": 0.5}
OURS: dict[str, tuple[SpanKind, dict[str, Any]]] = {
    "a request": (SpanKind.SERVER, {**HTTP, "http.response.status_code": 200}),
    "a refused request": (SpanKind.SERVER, {**HTTP, "http.response.status_code": 404}),
    "a request that failed": (
        SpanKind.SERVER,
        {**HTTP, "http.response.status_code": 503, "error.type": "503", "error_code": "503"},
    ),
    "a request without an answer": (SpanKind.SERVER, HTTP),
    "a message": (SpanKind.CONSUMER, BUS),
    "a message of no entity": (SpanKind.CONSUMER, {**BUS, "messaging.destination": ""}),
    "a model call": (SpanKind.CLIENT, CHAT),
    "a call of no model": (SpanKind.CLIENT, {"run_id": "r1"}),
    "a tool": (SpanKind.INTERNAL, {"gen_ai.tool.name": "echo", "gen_ai.tool.call.id": "c1"}),
    "work with a model": (SpanKind.INTERNAL, CHAT),
    "bare work": (SpanKind.INTERNAL, {}),
    "odd values": (SpanKind.SERVER, {**HTTP, **LONG}),
}
OTHERS: dict[str, tuple[SpanKind, dict[str, Any]]] = {
    "a message that is sent": (SpanKind.PRODUCER, BUS),
    "a request of another service": (SpanKind.CLIENT, HTTP),
    "a user's": (SpanKind.SERVER, {**HTTP, "enduser.id": "u1"}),
    "a database's": (SpanKind.CLIENT, {"db.system": "postgresql"}),
    "with measurements": (
        SpanKind.SERVER,
        {"microsoft.custom_measurements": '{"a": 1}'},
    ),
}
"""Spans to whose attributes the exporter gives a meaning that AOS's rows do not know."""


@pytest.fixture(autouse=True)
def _nothing_to_microsoft(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in make_deployed_settings().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def connection() -> dict[str, Any]:
    text = f"InstrumentationKey={INSTRUMENTATION_KEY};IngestionEndpoint=http://127.0.0.1:9/"
    return {"connection_string": text, "disable_offline_storage": True}


@pytest.fixture
def exporter(connection: dict[str, Any]) -> AzureMonitorTraceExporter:
    return AzureMonitorTraceExporter(**connection)


def as_sent(envelope: Any) -> Any:
    """What the exporter puts into its request."""
    return json.loads(json.dumps(envelope, cls=SdkJSONEncoder, exclude_readonly=True))


def record(
    kind: SpanKind, attributes: dict[str, Any], *, name: str = "work", scope: str = TRACER_NAME
) -> ReadableSpan:
    """A finished span below another, recorded by the SDK."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(sampler=ApplicationInsightsSampler(1.0), resource=RESOURCE)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer(scope)
    with tracer.start_as_current_span("outer"), tracer.start_span(name, kind=kind) as span:
        span.set_attributes(attributes)
        if "error.type" in attributes:
            span.set_status(StatusCode.ERROR, str(attributes["error.type"]))
    return kept.get_finished_spans()[0]


@pytest.mark.parametrize("case", sorted(OURS))
def test_a_span_of_ours_is_written_as_the_exporter_would(
    exporter: AzureMonitorTraceExporter, case: str
) -> None:
    span = record(*OURS[case])
    row = RowWriter(exporter._span_to_envelope)(span)
    assert isinstance(row, Row)
    assert as_sent(row) == as_sent(exporter._span_to_envelope(span))


@pytest.mark.parametrize("case", sorted(OTHERS))
def test_a_span_that_the_exporter_knows_more_of_is_left_to_it(
    exporter: AzureMonitorTraceExporter, case: str
) -> None:
    span = record(*OTHERS[case])
    row = RowWriter(exporter._span_to_envelope)(span)
    assert not isinstance(row, Row)
    assert as_sent(row) == as_sent(exporter._span_to_envelope(span))


def test_spans_of_libraries_and_spans_with_events_are_left_to_the_exporter(
    exporter: AzureMonitorTraceExporter,
) -> None:
    write = RowWriter(exporter._span_to_envelope)
    theirs = record(SpanKind.CLIENT, {}, scope="mcp")
    provider = TracerProvider(resource=RESOURCE)
    kept = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with provider.get_tracer(TRACER_NAME).start_as_current_span("told") as span:
        span.add_event("something")
    (told,) = kept.get_finished_spans()
    for span_of in (theirs, told):
        assert not isinstance(write(span_of), Row)


async def test_every_span_of_the_apps_is_written_directly_and_equal(
    exporter: AzureMonitorTraceExporter,
) -> None:
    """A new attribute must be told to rows.py, or its span costs as much as before."""
    kept = finished_spans()
    connected = make_telemetry(
        app="main",
        environment="dev",
        level="info",
        connection_string=f"InstrumentationKey={INSTRUMENTATION_KEY}",
        configure=False,
    )
    apps = InMemory({"AOS_MODEL": "gpt-5"}, telemetry=connected)
    await apps.put({"agent_id": "ceo", "purpose": "Lead."})
    kept.clear()
    async with apps.pumping():
        await apps.ask({"message": "Hi"})
        apps.model.then(TransientError("away"), "Back.", RunFailed("model_rejected", "no"))
        await apps.ask({"message": "Hi"})
        await apps.ask({"message": "Hi"})
    apps.send({"agent_id": "ceo", "message": "Hi"})
    await apps.settle()
    spans = kept.get_finished_spans()
    assert {span.name for span in spans} >= {
        *("POST /api/agents/{agent_id}/run", "agent_operation", "chat gpt-5"),
        *("process aos-main", "process aos-requests"),
    }
    write = RowWriter(exporter._span_to_envelope)
    for span in spans:
        row = write(span)
        assert isinstance(row, Row), span.to_json()
        assert as_sent(row) == as_sent(exporter._span_to_envelope(span))


class _Kept(SimpleSpanProcessor):
    """Keeps what ends."""

    def __init__(self) -> None:
        super().__init__(InMemorySpanExporter())
        self.ended: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)


@pytest.fixture
def logged() -> Iterator[InMemoryLogRecordExporter]:
    """What the distribution's handler makes of the lines of the custom events' logger."""
    kept = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call] # the SDK's own
    provider = LoggerProvider(resource=RESOURCE)
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
    handler = LoggingHandler(logger_provider=provider)
    logger = logging.getLogger(CUSTOM_EVENTS_LOGGER)
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield kept
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.mark.parametrize("inside", [True, False])
def test_a_custom_event_is_written_as_the_exporter_would_write_its_log_record(
    exporter: AzureMonitorTraceExporter,
    connection: dict[str, Any],
    logged: InMemoryLogRecordExporter,
    *,
    inside: bool,
) -> None:
    dimensions = {"agentId": "ceo", "input_tokens": 7, "ok": True, "long": "x" * 9000}
    kept = _Kept()
    events = EventRecorder(kept, RESOURCE)
    tracer = TracerProvider(resource=RESOURCE).get_tracer("any")
    span = tracer.start_span("around") if inside else trace.INVALID_SPAN
    with trace.use_span(span):
        events.record("AgentOperation", dimensions)
        logging.getLogger(CUSTOM_EVENTS_LOGGER).info(
            "AgentOperation", extra={**dimensions, CUSTOM_EVENT: "AgentOperation"}
        )
    (line,) = logged.get_finished_logs()
    theirs = as_sent(AzureMonitorLogExporter(**connection)._log_to_envelope(line))
    (event,) = kept.ended
    row = as_sent(RowWriter(exporter._span_to_envelope)(event))
    assert row["data"]["baseType"] == "EventData"
    assert row.pop("time")[:10] == theirs.pop("time")[:10]
    assert row == theirs


@pytest.fixture
def ingestion() -> Iterator[Ingestion]:
    with run_ingestion() as running:
        yield running


def test_rows_and_events_leave_in_one_request_and_a_stored_row_is_sent_again(
    ingestion: Ingestion, tmp_path: Path
) -> None:
    exporter = AzureMonitorTraceExporter(
        connection_string=ingestion.connection_string, storage_directory=str(tmp_path)
    )
    write = RowWriter(exporter._span_to_envelope)
    vars(exporter)["_span_to_envelope"] = write
    provider = TracerProvider(sampler=ApplicationInsightsSampler(1.0), resource=RESOURCE)
    processor = BatchSpanProcessor(exporter, schedule_delay_millis=600_000)
    provider.add_span_processor(processor)
    with provider.get_tracer(TRACER_NAME).start_as_current_span("POST", kind=SpanKind.SERVER):
        EventRecorder(processor, RESOURCE).record("AgentOperation", {"agentId": "ceo"})
    stored = write(record(SpanKind.SERVER, HTTP))
    assert exporter.storage is not None
    exporter.storage.put([stored.as_dict()], 0)
    provider.force_flush()
    kinds = [item["data"]["baseType"] for item in ingestion.items]
    assert kinds == ["EventData", "RequestData", "RequestData"]
    assert ingestion.items[2] == as_sent(stored)
    assert ingestion.refused == []
    provider.shutdown()


def test_a_provider_without_azure_monitors_exporter_stays_as_it_is() -> None:
    kept = finished_spans()
    assert shorten_export() is None
    kept.clear()
    with trace.get_tracer(TRACER_NAME).start_as_current_span("as before"):
        pass
    assert [span.name for span in kept.get_finished_spans()] == ["as before"]


LIKE_THE_WORKER = """
import os
from azure.monitor.opentelemetry import configure_azure_monitor
configure_azure_monitor(logger_name="aos")
from aos.adapters.telemetry.reporting import make_telemetry
for _ in range(2):
    told = make_telemetry(
        app="main", environment="dev", level={level!r}, connection_string="x", configure=False
    )
for _ in range(3):
    with told.span("POST /run", kind="server"):
        told.custom_event("AgentOperation", agentId="ceo")
from opentelemetry import _logs, trace
exporters = [
    getattr(processor, "span_exporter", None)
    for processor in trace.get_tracer_provider()._active_span_processor._span_processors
]
print([type(e._span_to_envelope).__name__ for e in exporters if e is not None])
trace.get_tracer_provider().force_flush()
print(flush=True)
os._exit(0)  # lines are not awaited: the events must have left with the spans
"""


@pytest.mark.parametrize(
    ("level", "logs", "events"), [("info", "", 3), ("warning", "", 0), ("info", "none", 0)]
)
def test_what_the_worker_has_set_up_writes_our_rows_and_sends_events_with_spans(
    ingestion: Ingestion, level: str, logs: str, events: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIKE_THE_WORKER.format(level=level)],
        env={
            **os.environ,
            CONNECTION_STRING: ingestion.connection_string,
            "OTEL_LOGS_EXPORTER": logs,
        },
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["['RowWriter']"]
    assert Counter(item["data"]["baseType"] for item in ingestion.items) == Counter(
        {"RequestData": 3, "EventData": events} if events else {"RequestData": 3}
    )
    assert ingestion.refused == []
