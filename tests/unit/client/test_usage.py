"""`aos usage` and `AosClient.usage`: what they ask for and show."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aos.client import AosClient
from aos.client.cli import main as aos
from tests.unit.client.stub_main import Say, StubMain


def summed(key: str | None, cost: str | None) -> dict[str, Any]:
    return {
        "key": key,
        "runs": 2,
        "input_tokens": 1000,
        "cached_tokens": 400,
        "output_tokens": 100,
        "reasoning_tokens": 60,
        "total_tokens": 1100,
        "cost": cost,
    }


def report(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "first_day": "2030-01-01",
        "last_day": "2030-01-31",
        "by": "agent",
        "currency": "EUR",
        "unpriced_models": [],
        "total": summed(None, "0.0026"),
        "items": list(items),
        "next": None,
        **more,
    }


def test_the_client_reads_all_pages_and_keeps_the_total(main: StubMain) -> None:
    main.then(Say(body=report(summed("ceo", "0.0026"), next="/api/usage?by=agent&after=x")))
    main.then(Say(body=report(summed("cfo", "0"))))
    found = AosClient(url=main.url).usage(
        by="agent", first_day="2030-01-01", last_day="2030-01-31", agent_id="ceo", owner="ann"
    )
    assert found == report(summed("ceo", "0.0026"), summed("cfo", "0"))
    assert [seen.path for seen in main.seen] == [
        "/api/usage?by=agent&from=2030-01-01&to=2030-01-31&agent_id=ceo&owner=ann&limit=100",
        "/api/usage?by=agent&after=x",
    ]


def test_usage_prints_a_table(main: StubMain, capsys: pytest.CaptureFixture[str]) -> None:
    priced, unpriced = summed("ceo", "0.0026"), summed("cfo", None)
    main.then(Say(body=report(priced, unpriced, unpriced_models=["dear"])))
    assert aos(["usage", "--from", "2030-01-01", "--url", main.url]) == 0
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()] == [
        ["2030-01-01", "to", "2030-01-31"],
        ["AGENT", "RUNS", "INPUT", "CACHED", "OUTPUT", "REASONING", "COST"],
        ["ceo", "2", "1000", "400", "100", "60", "0.0026", "EUR"],
        ["cfo", "2", "1000", "400", "100", "60", "-"],
        ["total", "2", "1000", "400", "100", "60", "0.0026", "EUR"],
    ]
    assert err == "no price in AOS_MODEL_PRICES: dear\n"


def test_usage_prints_json(main: StubMain, capsys: pytest.CaptureFixture[str]) -> None:
    main.then(Say(body=report()))
    assert aos(["usage", "--by", "model", "--json", "--url", main.url]) == 0
    assert json.loads(capsys.readouterr().out) == report()
    assert main.seen[0].path == "/api/usage?by=model&limit=100"
