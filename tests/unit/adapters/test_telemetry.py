"""What operators see: lines, custom events, and one trace from door to reply."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from aos.adapters.memory import ManualClock, MemoryBroker, MemoryBus
from aos.adapters.memory.blobs import MemoryBlobStore
from aos.adapters.telemetry.reporting import AppTelemetry, make_telemetry
from aos.domain.cards.policy import CardPolicy
from aos.errors import RunFailed
from aos.services.catalog.announcer import Announcer
from aos.services.catalog.publisher import CatalogPublisher
from aos.testing import MemoryWorld, ScriptedModel
from benchmarks.ingestion import Ingestion, run_ingestion
from tests.unit.finished_spans import finished_spans

SECRET = "c2VjcmV0LWtleQ=="
INCOMING = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(autouse=True)
def _quiet_logger() -> Iterator[None]:
    logger = logging.getLogger("aos")
    before = (logger.level, list(logger.handlers))
    yield
    logger.setLevel(before[0])
    logger.handlers[:] = before[1]


@pytest.fixture
def telemetry() -> AppTelemetry:
    return make(level="info")


def make(*, level: str = "info", connection_string: str | None = None) -> AppTelemetry:
    return make_telemetry(
        app="main",
        environment="dev",
        level=level,
        connection_string=connection_string,
        configure=False,
    )


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(record.getMessage()) for record in caplog.records if record.name == "aos"]


def test_a_line_is_one_json_object_with_its_constants_and_fields(
    telemetry: AppTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry.log("run_nudged", level="warning", run_id="r1", agent_id="ceo", nothing=None)
    [line] = lines(caplog)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "run_nudged",
        "app": "main",
        "environment": "dev",
        "level": "warning",
        "run_id": "r1",
        "agent_id": "ceo",
    }
    assert caplog.records[0].levelno == logging.WARNING


def test_lines_below_the_level_are_not_written(caplog: pytest.LogCaptureFixture) -> None:
    telemetry = make(level="warning")
    telemetry.log("whisper")
    telemetry.log("shout", level="error")
    assert [line["event"] for line in lines(caplog)] == ["shout"]


def test_fields_of_any_type_and_length_make_a_line(
    telemetry: AppTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry.log("odd", value={1, 2}, text="x" * 100_000, surrogate="\ud800", lines="a\nb", pi=3.5)
    [record] = caplog.records
    assert "\n" not in record.getMessage()
    assert len(record.getMessage()) < 10_000
    assert record.getMessage().encode("utf-8")
    assert (lines(caplog)[0]["pi"], lines(caplog)[0]["surrogate"]) == (3.5, "\ud800")


@pytest.mark.parametrize(
    "text",
    [
        f"Endpoint=sb://x/;SharedAccessKeyName=Root;SharedAccessKey={SECRET};Use=1",
        f"AccountName=a;AccountKey={SECRET};",
        f"https://x/api/agents?code={SECRET}",
        f"https://x.blob/c?sv=1&sig={SECRET}&se=2",
        f"Authorization: Bearer {SECRET}",
        f"x-functions-key: {SECRET}",
        f"api_key={SECRET}",
    ],
)
def test_keys_and_signatures_are_masked(
    telemetry: AppTelemetry, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    telemetry.log("failed", reason=text, details={"nested": text})
    assert SECRET not in caplog.text
    assert "c2VjcmV0" not in caplog.text
    assert lines(caplog)[0]["event"] == "failed"


def test_a_custom_event_is_a_line_too(
    telemetry: AppTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry.custom_event("AgentOperation", agentId="ceo", operation="run.completed")
    [line] = lines(caplog)
    assert (line["event"], line["agentId"], line["operation"]) == (
        "AgentOperation",
        "ceo",
        "run.completed",
    )
    assert len(caplog.records) == 1, "without Application Insights there is nothing else to write"


def test_with_application_insights_what_comes_with_every_run_is_one_row_and_not_also_a_line(
    connected: AppTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    connected.custom_event("AgentOperation", agentId="ceo", operation="run.completed")
    connected.custom_event("AgentInitialized", agent_id="ceo", purpose="Lead.")
    assert [record.name for record in caplog.records] == [
        *("aos.custom_events", "aos", "aos.custom_events")
    ]


def test_without_open_telemetry_one_trace_goes_through_three_apps() -> None:
    """Door, realm and reply: same trace, a span id of its own for each."""
    main, realm = make(), make()
    with main.span("POST /api/agents/{agent_id}/run", kind="server", traceparent=INCOMING) as door:
        carried = door.traceparent
    with realm.span("agent_operation", kind="consumer", traceparent=carried) as turn:
        turn.set(outcome="answered")
        answered = turn.traceparent
    assert carried is not None
    assert answered is not None
    assert [text.split("-")[1] for text in (carried, answered)] == [TRACE_ID, TRACE_ID]
    assert len({INCOMING, carried, answered}) == 3


@pytest.mark.parametrize("incoming", [None, "", "nonsense", INCOMING.replace("4", "g")])
def test_a_door_without_a_usable_traceparent_begins_a_trace(incoming: str | None) -> None:
    with make().span("door", kind="server", traceparent=incoming) as one:
        pass
    with make().span("door", kind="server", traceparent=incoming) as other:
        pass
    assert one.traceparent
    assert other.traceparent
    assert one.traceparent.split("-")[1] != other.traceparent.split("-")[1]


def test_lines_inside_a_span_name_its_trace(
    telemetry: AppTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        telemetry.span("door", kind="server", traceparent=INCOMING),
        telemetry.span("inner", kind="internal") as inner,
    ):
        telemetry.log("inside")
    telemetry.log("outside")
    inside, outside = lines(caplog)
    assert inside["trace_id"] == TRACE_ID == str(inner.traceparent).split("-")[1]
    assert "trace_id" not in outside


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    exporter = finished_spans()
    exporter.clear()
    return exporter


@pytest.fixture
def connected(exporter: InMemorySpanExporter) -> AppTelemetry:
    return make(connection_string="InstrumentationKey=00000000-0000-0000-0000-000000000000")


def test_spans_of_main_and_realm_join_in_one_trace(
    connected: AppTelemetry, exporter: InMemorySpanExporter
) -> None:
    with connected.span("POST /run", kind="server", traceparent=INCOMING) as door:
        carried = door.traceparent
    attributes = {"gen_ai.agent.id": "ceo", "missing": None}
    with connected.span(
        "agent_operation", kind="internal", traceparent=carried, **attributes
    ) as turn:
        turn.set(outcome="answered", tokens=7)
    first, second = exporter.get_finished_spans()
    assert first.context is not None
    assert second.context is not None
    assert second.parent is not None
    assert f"{first.context.trace_id:032x}" == f"{second.context.trace_id:032x}" == TRACE_ID
    assert second.parent.span_id == first.context.span_id
    assert (first.kind, second.kind) == (SpanKind.SERVER, SpanKind.INTERNAL)
    assert dict(second.attributes or {}) == {
        "gen_ai.agent.id": "ceo",
        "outcome": "answered",
        "tokens": 7,
    }


def test_a_failed_span_has_the_errors_code_and_none_of_its_words(
    connected: AppTelemetry, exporter: InMemorySpanExporter
) -> None:
    with pytest.raises(RunFailed), connected.span("agent_operation", kind="consumer"):
        raise RunFailed("model_rejected", "your secret plan is too long")
    [span] = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "model_rejected"
    assert "secret plan" not in span.to_json()


def test_a_custom_event_has_the_names_that_azure_monitor_looks_for(
    connected: AppTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    connected.custom_event("AgentOperation", agentId="ceo", operation="run.completed", module="x")
    (record,) = caplog.records
    fields = vars(record)
    assert fields["microsoft.custom_event.name"] == "AgentOperation"
    assert (fields["agentId"], fields["operation"], fields["module_"]) == (
        "ceo",
        "run.completed",
        "x",
    )


async def test_an_agent_that_is_new_is_told_in_the_plans_words(
    telemetry: AppTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """{"event": "AgentInitialized", "agent_id": "ceo", "purpose": …, "timestamp": …}"""
    clock = ManualClock()
    config, data = MemoryBlobStore(clock=clock), MemoryBlobStore(clock=clock)
    body = {"agent_id": "ceo", "purpose": "Strategic oversight"}
    await config.write("agents/ceo.json", json.dumps(body).encode())
    publisher = CatalogPublisher(config=config, data=data, clock=clock, policy=CardPolicy())
    bus = MemoryBus(MemoryBroker(clock=clock), clock=clock)
    announcer = Announcer(bus=bus, clock=clock, telemetry=telemetry)
    await announcer.announce(await publisher.publish())
    [line] = [line for line in lines(caplog) if line["event"] == "AgentInitialized"]
    assert (line["agent_id"], line["purpose"]) == ("ceo", "Strategic oversight")
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None


async def test_a_whole_run_tells_its_ids_and_none_of_its_words(
    connected: AppTelemetry,
    exporter: InMemorySpanExporter,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The real apps with this telemetry: a good run, and one that the model rejects."""
    rejected = RunFailed("model_rejected", "cannot say: moonshine")
    world = MemoryWorld(model=ScriptedModel("Buy moonshine.", rejected), telemetry=connected)
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead with moonshine."})
    caplog.clear()  # AgentInitialized tells a card's purpose; a run tells it nowhere
    exporter.clear()
    run = await world.ask("ceo", "Is moonshine good?", conversation_id="board")
    failed = await world.ask("ceo", "More moonshine?", conversation_id="board")
    assert (run.status.value, failed.status.value) == ("completed", "failed")
    spans = [span.to_json() for span in exporter.get_finished_spans()]
    rows = [vars(record) for record in caplog.records if record.name == "aos.custom_events"]
    assert "moonshine" not in caplog.text + "".join(spans) + str(rows)
    assert [(row["agentId"], row["operation"], row["run_id"]) for row in rows] == [
        ("ceo", "run.completed", run.run_id),
        ("ceo", "run.failed", failed.run_id),
    ]
    chats = [span for span in spans if '"chat' in span]
    assert all("board" in span for span in chats)
    assert len(chats) == 2


PLAN = {
    "AZURE_SERVICEBUS_CONNECTION_STRING": "Endpoint=sb://127.0.0.1;SharedAccessKeyName=k;"
    "SharedAccessKey=k;UseDevelopmentEmulator=true;",
    "AZURE_STORAGE_CONNECTION_STRING": "UseDevelopmentStorage=true",
}


def run_python(code: str, **environ: str) -> str:
    """The output of a fresh process: import state and providers are a process's own."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environ},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout


WORK = """
import json, os, sys
from aos.adapters.telemetry.reporting import make_telemetry
for _ in range(2):
    telemetry = make_telemetry(
        app="main",
        environment="dev",
        level="info",
        connection_string={connection!r},
        configure=True,
    )
with telemetry.span("POST /run", kind="server", traceparent={incoming!r}):
    telemetry.log("run_admitted", agent_id="ceo", run_id="r1")
    telemetry.custom_event("AgentOperation", agentId="ceo", operation="run.completed")
    telemetry.custom_event("AgentInitialized", agent_id="ceo", purpose="Lead.")
    telemetry.log("run_broke", level="error", agent_id="ceo")
"""
LIST_MODULES = """
print(json.dumps([n for n in sys.modules if n.startswith(("opentelemetry", "azure"))]))
"""
FLUSH = """
from opentelemetry import _logs, trace
trace.get_tracer_provider().force_flush()
_logs.get_logger_provider().force_flush()
os._exit(0)  # the exporters' threads would take seconds
"""


def test_without_a_connection_string_nothing_of_open_telemetry_is_loaded() -> None:
    """And lines go to standard output, for nobody else has a handler there."""
    code = WORK.format(connection=None, incoming=INCOMING) + LIST_MODULES
    *written, loaded = [json.loads(line) for line in run_python(code).splitlines()]
    assert loaded == []
    assert [line["event"] for line in written] == [
        *("run_admitted", "AgentOperation", "AgentInitialized", "run_broke")
    ]
    assert {line["trace_id"] for line in written} == {TRACE_ID}


START = """
import logging
from aos.bootstrap import {app}_app
logging.basicConfig(level=logging.INFO, format="%(name)s", force=True)  # as the worker has it
{app}_app({{"AZURE_FUNCTIONS_ENVIRONMENT": "Development", **{plan!r}}})
logging.getLogger("azure.core.pipeline.policies.http_logging_policy").info("Request URL: …")
logging.getLogger("azure.monitor.opentelemetry.exporter.export._base").info("Transmission …")
logging.getLogger("httpx").info("HTTP Request: …")
logging.getLogger("httpx2").info("HTTP Request: …")
logging.getLogger("azure.servicebus").warning("told")
"""


@pytest.mark.parametrize("app", ["main", "mcp", "realm"])
def test_an_app_that_has_started_hears_the_sdks_from_warnings_up(app: str) -> None:
    """Even under a root logger at INFO: their addresses hold ids of runs and conversations."""
    done = subprocess.run(
        [sys.executable, "-c", START.format(app=app, plan=PLAN)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr.splitlines() == ["aos", "azure.servicebus"]  # its own start, the SDK


@pytest.fixture(scope="module")
def ingestion() -> Iterator[Ingestion]:
    """Application Insights after an app has worked for a moment with Azure Monitor set up."""
    with run_ingestion() as ingestion:
        work = WORK.format(connection=ingestion.connection_string, incoming=INCOMING)
        run_python(
            work + FLUSH,
            APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL="true",
            APPLICATIONINSIGHTS_SDKSTATS_DISABLED="true",
            APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED="true",
            OTEL_TRACES_SAMPLER="always_on",
        )
        yield ingestion


def test_application_insights_gets_the_plans_custom_events(ingestion: Ingestion) -> None:
    row, other = ingestion.rows("EventData")
    assert (row["name"], other["name"]) == ("AgentOperation", "AgentInitialized")
    assert row["properties"]["agentId"] == "ceo"
    assert row["properties"]["operation"] == "run.completed"


def test_application_insights_gets_lines_that_the_plans_queries_find(ingestion: Ingestion) -> None:
    """`traces | where message contains "agent"`; each line once, though set up was asked twice."""
    messages = [json.loads(row["message"]) for row in ingestion.rows("MessageData")]
    assert [line["event"] for line in messages] == ["run_admitted", "AgentInitialized", "run_broke"]
    assert all("agent" in row["message"] for row in ingestion.rows("MessageData"))


def test_application_insights_gets_errors_as_the_plans_query_finds_them(
    ingestion: Ingestion,
) -> None:
    """`traces | where severityLevel >= 3`"""
    found = [
        json.loads(row["message"])["event"]
        for row in ingestion.rows("MessageData")
        if row["severityLevel"] >= 3
    ]
    assert found == ["run_broke"]


def test_application_insights_gets_the_door_as_a_request_of_the_callers_trace(
    ingestion: Ingestion,
) -> None:
    [row] = ingestion.rows("RequestData")
    assert row["name"] == "POST /run"
    traces = {item["tags"].get("ai.operation.id") for item in ingestion.items}
    assert TRACE_ID in traces
