"""The benchmark of telemetry counts what is posted, with the deployed settings."""

from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from benchmarks.ingestion import INSTRUMENTATION_KEY, Ingestion, run_ingestion
from benchmarks.telemetry import IDLE_SECONDS, OF_AZURE, Sent, Telemetry, make_deployed_settings
from tests.infra.bicep_cli import committed
from tests.infra.inventory import APPS, Inventory


def item(kind: str = "MessageData", app: str = "main", **changes: Any) -> dict[str, Any]:
    """An item that Application Insights takes, with changes of its row, `tags` or `envelope`."""
    fields: dict[str, dict[str, Any]] = {
        "MessageData": {"message": "x", "severityLevel": 1},
        "EventData": {"name": "AgentOperation"},
        "RequestData": {
            "id": "1" * 16,
            "duration": "0.00:00:00.012",
            "responseCode": "200",
            "success": True,
        },
    }
    envelope, tags = changes.pop("envelope", {}), changes.pop("tags", {})
    return {
        "name": "Microsoft.ApplicationInsights.Message",
        "time": datetime.now(UTC).isoformat(),
        "iKey": INSTRUMENTATION_KEY,
        "tags": {"ai.cloud.role": app, "ai.operation.id": "a" * 32, **tags},
        "data": {"baseType": kind, "baseData": {"ver": 2, **fields.get(kind, {}), **changes}},
        **envelope,
    }


def post(
    ingestion: Ingestion, path: str, raw: bytes, *, packed: bool = False
) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{ingestion.port}{path}",
        data=gzip.compress(raw) if packed else raw,
        headers={"Content-Encoding": "gzip"} if packed else {},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("path", ["/v2.1/track", "/v2/track"])
def test_rows_and_bytes_are_counted_as_posted_and_live_metrics_are_not(
    packed: bool, path: str
) -> None:
    first = [item(message="x" * 1000), item("RequestData", "realm")]
    lines = "\n".join(json.dumps(one) for one in (item(message="x" * 500),)) + "\n"
    with run_ingestion() as ingestion:
        status, answer = post(ingestion, path, json.dumps(first).encode(), packed=packed)
        assert (status, answer["itemsReceived"], answer["itemsAccepted"]) == (200, 2, 2)
        assert post(ingestion, path, lines.encode(), packed=packed)[0] == 200
        live = "/QuickPulseService.svc/ping?ikey=x"
        assert post(ingestion, live, b'{"Metrics": []}', packed=packed)[0] == 200
    assert ingestion.by_table() == {"traces": 2, "requests": 1}
    assert ingestion.rows_by_app() == {"main": 2, "realm": 1}
    sizes = ingestion.bytes_by_app()
    assert 1500 < sizes["main"] < 2200
    assert 0 < sizes["realm"] < 500


def test_of_a_request_the_good_rows_are_taken_and_the_others_named() -> None:
    with run_ingestion() as ingestion:
        raw = json.dumps([item(), item(message=""), item(severityLevel=7)]).encode()
        status, answer = post(ingestion, "/v2.1/track", raw)
    assert (status, answer["itemsReceived"], answer["itemsAccepted"]) == (206, 3, 1)
    assert [(error["index"], error["statusCode"]) for error in answer["errors"]] == [
        *((1, 400), (2, 400))
    ]
    assert "'message'" in answer["errors"][0]["message"]
    assert len(ingestion.items) == 1
    assert len(ingestion.refused) == 2


REFUSED = {
    "another key": item(envelope={"iKey": "0"}),
    "no name": item(envelope={"name": ""}),
    "no time": item(envelope={"time": None}),
    "three days old": item(envelope={"time": (datetime.now(UTC) - timedelta(days=3)).isoformat()}),
    "a rate of 0": item(envelope={"sampleRate": 0}),
    "a long role": item(tags={"ai.cloud.role": "x" * 257}),
    "a short trace id": item(tags={"ai.operation.id": "abc"}),
    "an unknown kind": item("PageViewData"),
    "another version": item(ver=1),
    "a long message": item(message="x" * 32769),
    "a long event": item("EventData", name="x" * 513),
    "an event without a name": item("EventData", name=""),
    "a request without an id": item("RequestData", id=""),
    "a request of seconds": item("RequestData", duration=1.5),
    "a long URL": item("RequestData", url="x" * 2049),
    "a success in words": item("RequestData", success="yes"),
    "a property's long name": item(properties={"x" * 151: "1"}),
    "a property's long value": item(properties={"x": "1" * 8193}),
    "a property's number": item(properties={"x": 1}),
    "a measurement's text": item(measurements={"x": "1"}),
    "64 kB": item(properties={f"p{number}": "x" * 8000 for number in range(9)}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_application_insights_refuses_or_cuts_is_refused(name: str) -> None:
    with run_ingestion() as ingestion:
        status, answer = post(ingestion, "/v2.1/track", json.dumps([REFUSED[name]]).encode())
    assert (status, answer["itemsAccepted"], len(answer["errors"])) == (400, 0, 1)
    assert ingestion.items == []
    assert len(ingestion.refused) == 1


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff"])
def test_a_request_that_is_not_of_items_is_refused(raw: bytes) -> None:
    with run_ingestion() as ingestion:
        assert post(ingestion, "/v2.1/track", raw)[0] == 400
        assert post(ingestion, "/v1/track", b"[]")[0] == 404
    assert ingestion.elsewhere == ["/v1/track"]


def test_what_idle_seconds_send_is_not_charged_to_the_runs() -> None:
    def sent(seconds: float, rows: int, size: int) -> Sent:
        counts = Counter(main=rows)
        return Sent(at=seconds, tables=counts, rows=counts, size=Counter(main=size))

    found = Telemetry(idle=sent(60.0, 12, 6000), busy=sent(20.0, 54, 52_000), runs=10)
    assert found.rows_a_run == pytest.approx(5.0)  # of 54 the idle apps would have sent 4
    assert found.bytes_a_run == pytest.approx(5000.0)
    assert found.idle_bytes == pytest.approx(6000 * IDLE_SECONDS / 60)


@pytest.mark.parametrize("app", APPS)
def test_it_measures_with_all_that_a_deployed_app_is_told_about_telemetry(app: str) -> None:
    settings = Inventory(committed("prod")).settings(app)
    about = {
        name for name in settings if "OTEL" in name or "INSIGHTS" in name or name == "AOS_LOG_LEVEL"
    }
    assert about - OF_AZURE == set(make_deployed_settings(app=app))
    assert make_deployed_settings(app=app).items() <= settings.items()
    assert "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS" in about
