"""What an app exports when the worker is told to: to an ingestion endpoint on this machine."""

from __future__ import annotations

from pathlib import Path

from benchmarks.ingestion import Ingestion, run_ingestion
from benchmarks.telemetry import CONNECTION_STRING, make_deployed_settings, make_loud_settings
from tests.contract.functions.hosting import Running, running_app, start_host, until
from tests.unit.functions.conftest import write_app

APP = """
import logging

@app.route("hello")
async def hello(req: func.HttpRequest) -> func.HttpResponse:
    from opentelemetry import trace
    with trace.get_tracer("aos").start_as_current_span("inside"):
        logging.getLogger("aos").info("ours")
    logging.getLogger("library").info("a library's")
    return func.HttpResponse("hi")
"""
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_BLRP_SCHEDULE_DELAY": "100"}
TRACE_ID, CLIENTS_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def messages(ingestion: Ingestion) -> list[str]:
    return [str(row["message"]) for row in ingestion.rows("MessageData")]


def greet(app: Running) -> None:
    headers = {"traceparent": f"00-{TRACE_ID}-{CLIENTS_SPAN}-01"}
    assert app.request("GET", "/api/hello", headers=headers)[0] == 200


def test_with_the_deployed_settings_only_our_lines_and_spans_are_exported(tmp_path: Path) -> None:
    with run_ingestion() as ingestion:
        settings = {
            **make_deployed_settings(),
            **QUICK,
            CONNECTION_STRING: ingestion.connection_string,
        }
        with running_app(tmp_path / "app", APP, environment=settings) as app:
            greet(app)
            until(lambda: len(ingestion.items) >= 2)
            greet(app)
            until(lambda: len(ingestion.items) >= 4)
    assert messages(ingestion) == ["ours", "ours"]
    assert [row["name"] for row in ingestion.rows("RemoteDependencyData")] == ["inside", "inside"]
    assert ingestion.rows_by_app() == {"app": 4}


def test_a_span_lies_below_the_hosts_which_lies_in_the_callers_trace(tmp_path: Path) -> None:
    with run_ingestion() as ingestion:
        settings = {
            **make_deployed_settings(),
            **QUICK,
            CONNECTION_STRING: ingestion.connection_string,
        }
        with running_app(tmp_path / "app", APP, environment=settings) as app:
            greet(app)
            until(lambda: bool(ingestion.rows("RemoteDependencyData")))
    (tags,) = [
        item["tags"]
        for item in ingestion.items
        if item["data"]["baseType"] == "RemoteDependencyData"
    ]
    assert tags["ai.operation.id"] == TRACE_ID
    assert tags["ai.operation.parentId"] not in (CLIENTS_SPAN, None)


def test_without_the_other_settings_every_library_and_the_exporter_itself_are_exported(
    tmp_path: Path,
) -> None:
    """As under Azure's worker: each export is told of, and that is the next export."""
    least = make_loud_settings(make_deployed_settings())
    with run_ingestion() as ingestion:
        settings = {**least, **QUICK, CONNECTION_STRING: ingestion.connection_string}
        with running_app(tmp_path / "app", APP, environment=settings) as app:
            greet(app)
            until(lambda: any("Request URL" in text for text in messages(ingestion)))
            until(lambda: "a library's" in messages(ingestion))
            seen = len(ingestion.items)
            until(lambda: len(ingestion.items) > seen + 5)


def test_telemetry_that_cannot_start_is_said_in_one_line(tmp_path: Path) -> None:
    folder = write_app(tmp_path / "app", APP)
    process = start_host(
        folder, environment={**make_deployed_settings(), CONNECTION_STRING: "nonsense"}
    )
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY is set" in said.splitlines()[-1]
