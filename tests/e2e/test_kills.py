"""Accepted means done once, whatever process dies when."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Callable

import pytest

from tests.e2e.conftest import Model
from tests.e2e.road import Road, eventually

BACK_SECONDS = 5.0
FROZEN_SECONDS = 30.0
AFTER_SECONDS = 60.0
"""Locks are 5 s here; then the message comes again."""


def in_the_middle(road: Road, model: Model, do: Callable[[], None]) -> None:
    """Ask over both doors, do it while the model is being asked; both ends come, once."""
    agent = road.live(f"kill-{uuid.uuid4().hex[:8]}")
    mark = uuid.uuid4().hex
    with model.held() as hold:
        key = road.request(agent, f"queue {mark}")
        asked = road.ask(agent, f"http {mark}", wait_seconds=0)
        assert asked.status == 202, asked
        run_id = asked.body["run_id"]
        hold.wait_for(2, seconds=20)
        do()
    reply = road.reply_to(key, seconds=AFTER_SECONDS)
    assert (reply["type"], reply["output"]) == ("run.completed", f"re: queue {mark}")
    run = road.ended(run_id, seconds=AFTER_SECONDS)
    assert (run["status"], run["output"]) == ("completed", f"re: http {mark}")
    for ended in (reply, run):
        path = f"/api/conversations/{ended['conversation_id']}/messages"
        items = road.call("GET", path).body["items"]
        assert [item["role"] for item in items] == ["user", "assistant"]
    assert road.no_more_replies(key, seconds=6)


@pytest.mark.parametrize("name", ["realm", "main", "servicebus"])
def test_a_process_is_killed_in_the_middle_of_a_run(road: Road, model: Model, name: str) -> None:
    model.answers_with(lambda messages: f"re: {messages[-1]['content']}")
    child = road.laptop.child(name)
    restarts = child.restarts

    def kill() -> None:
        child.kill9()
        eventually(lambda: child.restarts > restarts or None, seconds=BACK_SECONDS)

    in_the_middle(road, model, kill)


def test_storage_is_stopped_gently_in_the_middle_of_a_run(road: Road, model: Model) -> None:
    model.answers_with(lambda messages: f"re: {messages[-1]['content']}")

    def restart() -> None:
        road.laptop.take_down("azurite")
        road.laptop.bring_up("azurite")

    in_the_middle(road, model, restart)


def test_storage_is_frozen_for_half_a_minute(road: Road, model: Model) -> None:
    model.answers_with(lambda messages: f"re: {messages[-1]['content']}")
    azurite = road.laptop.child("azurite")

    def freeze() -> None:
        azurite.send_signal(signal.SIGSTOP)
        time.sleep(FROZEN_SECONDS)  # the event that is tested: a freeze of this length
        azurite.send_signal(signal.SIGCONT)

    in_the_middle(road, model, freeze)


def test_what_is_asked_while_realm_is_away_is_answered_when_it_is_back(
    road: Road, model: Model
) -> None:
    model.answers_with(lambda messages: f"re: {messages[-1]['content']}")
    agent = road.live(f"away-{uuid.uuid4().hex[:8]}")
    road.laptop.take_down("realm")
    keys = [road.request(agent, f"question {number}") for number in range(10)]
    accepted = [road.ask(agent, f"more {number}", wait_seconds=0) for number in range(5)]
    assert {answer.status for answer in accepted} == {202}
    road.laptop.bring_up("realm")
    assert [road.reply_to(key, seconds=AFTER_SECONDS)["output"] for key in keys] == [
        f"re: question {number}" for number in range(10)
    ]
    for answer in accepted:
        assert road.ended(answer.body["run_id"])["status"] == "completed"


def test_under_load_with_kills_of_everything_each_request_has_one_reply(
    road: Road, model: Model
) -> None:
    model.answers_with(lambda messages: f"re: {messages[-1]['content']}", delay=0.05)
    agent = road.live(f"load-{uuid.uuid4().hex[:8]}")
    keys: list[str] = []
    for victim in ("realm", "main", "servicebus", "realm"):
        keys += [road.request(agent, f"question {len(keys) + n}") for n in range(10)]
        child = road.laptop.child(victim)
        restarts = child.restarts
        child.kill9()
        eventually(lambda c=child, r=restarts: c.restarts > r or None, seconds=BACK_SECONDS)  # type: ignore[misc]
        child.wait_ready(30)
    found = {key: road.replies_to(key, seconds=AFTER_SECONDS) for key in keys}
    assert {key: len(replies) for key, replies in found.items()} == dict.fromkeys(keys, 1)
    outputs = [replies[0][1]["output"] for replies in found.values()]
    assert outputs == [f"re: question {number}" for number in range(len(keys))]
    assert model.asked("question 0") >= 1
