"""The benchmark of telemetry counts what is posted, with the deployed settings."""

from __future__ import annotations

import gzip
import json
import urllib.request
from collections import Counter

import pytest

from benchmarks.ingestion import Ingestion, run_ingestion
from benchmarks.telemetry import IDLE_SECONDS, OF_AZURE, Sent, Telemetry, make_deployed_settings
from tests.infra.bicep_cli import committed
from tests.infra.inventory import APPS, Inventory


def row(kind: str, app: str, size: int) -> dict[str, object]:
    return {
        "tags": {"ai.cloud.role": app},
        "data": {"baseType": kind, "baseData": {"message": "x" * size}},
    }


def post(ingestion: Ingestion, path: str, body: object, *, packed: bool = False) -> None:
    raw = json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{ingestion.port}{path}",
        data=gzip.compress(raw) if packed else raw,
        headers={"Content-Encoding": "gzip"} if packed else {},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("packed", [False, True])
def test_rows_and_bytes_are_counted_as_posted_and_live_metrics_are_not(packed: bool) -> None:
    with run_ingestion() as ingestion:
        post(
            ingestion,
            "/v2.1/track",
            [row("MessageData", "main", 1000), row("RequestData", "realm", 10)],
            packed=packed,
        )
        post(ingestion, "/v2.1/track", [row("MessageData", "main", 500)], packed=packed)
        post(ingestion, "/QuickPulseService.svc/ping?ikey=x", {"Metrics": []}, packed=packed)
    assert ingestion.by_table() == {"traces": 2, "requests": 1}
    assert ingestion.rows_by_app() == {"main": 2, "realm": 1}
    sizes = ingestion.bytes_by_app()
    assert 1500 < sizes["main"] < 1800
    assert 0 < sizes["realm"] < 200


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
