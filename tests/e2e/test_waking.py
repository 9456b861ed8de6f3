"""Agents wake over the real bus: an event that the JavaScript SDK sends twice, and a schedule."""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from devhost.azurite import find_node
from devhost.laptop import REPOSITORY
from tests.e2e.conftest import Model
from tests.e2e.road import Road, eventually

PUBLISH = Path(__file__).with_name("publish_events.cjs")


def publish_twice(road: Road, mode: str, event: dict[str, Any]) -> None:
    """Send the event twice, as a JavaScript program does."""
    subprocess.run(
        [
            find_node(REPOSITORY),
            str(PUBLISH),
            road.laptop.servicebus_connection_string,
            mode,
            json.dumps(event),
        ],
        check=True,
        timeout=60,
    )


def runs_of(road: Road, agent_id: str) -> list[dict[str, Any]]:
    """The agent's runs, newest first."""
    found: list[dict[str, Any]] = road.call("GET", f"/api/runs?agent_id={agent_id}").body["items"]
    return found


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_an_event_that_the_javascript_sdk_sends_twice_starts_one_run(
    road: Road, model: Model, mode: str
) -> None:
    model.says("Thank you.")
    order, agent_id = f"com.example.{uuid.uuid4().hex}", f"seller-{mode}"
    road.live(agent_id, wake={"events": [{"type": order, "message": "An order."}]})
    event = {"specversion": "1.0", "id": "1", "source": "shop", "type": order, "data": {"n": 1}}
    publish_twice(road, mode, event)
    publish_twice(road, mode, {**event, "id": "2"})

    def ended() -> bool:
        return [run["status"] for run in runs_of(road, agent_id)].count("completed") == 2

    eventually(ended, seconds=30, every=0.2, what="both runs")
    runs = runs_of(road, agent_id)
    assert sorted(run["metadata"]["woken_by"]["event"]["id"] for run in runs) == ["1", "2"]
    assert {run["conversation_id"] for run in runs} == {f"home-{agent_id}"}
    messages = road.call("GET", f"/api/conversations/home-{agent_id}/messages").body["items"]
    assert messages[0]["content"] == 'An order.\n\n{"n": 1}'


def test_an_agent_wakes_each_minute(road: Road, model: Model) -> None:
    model.says("It is time.")
    schedule = {"cron": "* * * * *", "time_zone": "Europe/Berlin", "message": "Is it time?"}
    road.live("clock", wake={"schedules": [schedule]})

    def woken() -> dict[str, Any] | None:
        return next((run for run in runs_of(road, "clock") if run["ended_at"]), None)

    run = eventually(woken, seconds=80, every=0.5, what="a tick")
    assert (run["status"], run["output"]) == ("completed", "It is time.")
    assert run["metadata"]["woken_by"]["schedule"]["cron"] == "* * * * *"
    answer = road.call("PUT", "/api/agents/clock", {"agent_id": "clock", "purpose": "Sleep."})
    assert answer.status == 200
