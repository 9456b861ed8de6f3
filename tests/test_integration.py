"""The whole road, alone: three processes, storage, bus and a scripted model.

`pytest tests/test_integration.py -v` is the end-to-end test of the deployment plan.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from devhost.laptop import Laptop
from tests.e2e.road import PLAN_CARD, Road
from tests.scripted_model import Say, ScriptedModel, running_model


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedModel]:
    with running_model() as running:
        yield running


@pytest.fixture(scope="module")
def road(model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    root = tmp_path_factory.mktemp("integration")
    with Laptop(root=root, model_endpoint=model.endpoint) as laptop:
        found = Road(laptop)
        yield found
        found.close()


def test_three_processes_are_healthy_and_say_their_version(road: Road) -> None:
    pids = {name: road.laptop.child(name).pid for name in ("main", "mcp", "realm")}
    assert len(set(pids.values())) == 3
    for app in pids:
        health = road.call("GET", "/api/health", app=app)
        assert (health.status, health.body["status"]) == (200, "healthy")
        assert health.body["timestamp"]
        status = road.call("GET", "/api/status", app=app)
        assert {"version": "2.0.0", "environment": "dev"}.items() <= status.body.items()


def test_a_card_in_a_blob_answers_through_the_queue_and_over_http(
    road: Road, model: ScriptedModel
) -> None:
    etag = road.upload("agents/ceo.json", PLAN_CARD.read_bytes())
    assert road.judged("agents/ceo", etag)["state"] == "active"
    model.always(Say("Grow."))
    reply = road.reply_to(road.request("ceo", "What matters most?", conversation_id="board"))
    assert (reply["type"], reply["output"]) == ("run.completed", "Grow.")
    answer = road.ask("ceo", "And then?", conversation_id="board")
    assert (answer.status, answer.body["output"]) == (200, "Grow.")
    seen = [message["content"] for message in model.requests[-1].messages]
    assert seen[1:] == ["What matters most?", "Grow.", "And then?"]


def test_an_event_of_the_run_is_published_for_everybody(road: Road) -> None:
    """Nobody but the operator's own subscriptions reads it; here the topic's `wake` ignores it."""
    reply = road.reply_to(road.request("ceo", "Anything else?"))
    with road.bus.get_subscription_receiver("agent-events", "wake", max_wait_time=1) as receiver:
        assert receiver.peek_messages(max_message_count=50) == []
    assert json.dumps(reply)


def test_data_is_kept_where_the_laptop_was_told(road: Road) -> None:
    root: Path = road.laptop.places.data
    assert (root / "servicebus.db").exists()
    assert {path.stem for path in (root / "logs").glob("*.log")} >= {"main", "mcp", "realm"}
