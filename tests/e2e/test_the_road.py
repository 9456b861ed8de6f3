"""An agent that is only a JSON blob answers through the queue and over HTTP, once."""

from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.conftest import Model
from tests.e2e.road import PLAN_CARD, Road, eventually

LIVE_SECONDS = 10.0


def a_name(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def test_the_plans_card_byte_for_byte_is_live_within_ten_seconds_and_so_is_an_edit(
    road: Road,
) -> None:
    started = time.monotonic()
    etag = road.upload("agents/ceo.json", PLAN_CARD.read_bytes())
    status = road.judged("agents/ceo", etag, seconds=LIVE_SECONDS)
    assert (status["state"], status["errors"]) == ("active", [])
    answer = road.ask("ceo", "What matters most?")
    assert answer.status == 200
    assert answer.body["status"] == "completed"
    assert answer.body["card_digest"] == status["digest"]
    assert time.monotonic() - started < LIVE_SECONDS

    started = time.monotonic()
    edited = PLAN_CARD.read_bytes().replace(b"company growth", b"calm growth")
    status = road.judged("agents/ceo", road.upload("agents/ceo.json", edited))
    answer = road.ask("ceo", "And now?")
    assert answer.body["card_digest"] == status["digest"]
    assert time.monotonic() - started < LIVE_SECONDS


def test_a_request_on_the_queue_gets_one_reply_with_the_contracts_properties(
    road: Road, model: Model
) -> None:
    agent = road.live(a_name("queue"))
    conversation = a_name("talk")
    model.says("Sell.")
    key = road.send(
        {
            "version": 1,
            "agent_id": agent,
            "message": "What now?",
            "conversation_id": conversation,
            "metadata": {"order": 7},
        },
        correlation_id="corr-1" + conversation,
        reply_to_session_id="s-9",
    )
    ((message, reply),) = road.replies_to("corr-1" + conversation)
    run_id = reply["run_id"]
    assert (reply["version"], reply["type"], reply["status"]) == (1, "run.completed", "completed")
    assert (reply["output"], reply["metadata"], reply["error"]) == ("Sell.", {"order": 7}, None)
    assert reply["conversation_id"] == conversation
    assert message.message_id == f"{run_id}:reply"
    assert message.correlation_id == "corr-1" + conversation
    assert message.session_id == "s-9"
    assert message.content_type == "application/json"
    seen = road.call("GET", f"/api/runs/{run_id}").body
    assert seen == {name: value for name, value in reply.items() if name not in ("version", "type")}

    model.says("Buy.")
    over_http = road.ask(agent, "And then?", conversation_id=conversation)
    assert over_http.body["output"] == "Buy."
    texts = [m["content"] for m in model.last_messages]
    assert texts[-3:] == ["What now?", "Sell.", "And then?"]
    history = road.call("GET", f"/api/conversations/{conversation}/messages").body["items"]
    assert [(m["role"], m["content"]) for m in history] == [
        ("user", "What now?"),
        ("assistant", "Sell."),
        ("user", "And then?"),
        ("assistant", "Buy."),
    ]
    assert road.no_more_replies("corr-1" + conversation)
    assert key


def test_a_request_without_a_correlation_id_is_answered_under_its_message_id(road: Road) -> None:
    agent = road.live(a_name("plain"))
    key = road.request(agent, "Hello")
    ((message, reply),) = road.replies_to(key)
    assert message.session_id == reply["conversation_id"] == reply["run_id"]


def test_two_requests_at_once_on_one_conversation_never_interleave(
    road: Road, model: Model
) -> None:
    agent = road.live(a_name("pair"))
    conversation = a_name("talk")
    model.answers_with(lambda messages: f"re: {messages[-1]['content']}", delay=0.2)
    # Begun over HTTP it would be another owner's, and the queue's requests would be refused.
    road.reply_to(road.request(agent, "question 0", conversation_id=conversation))
    keys = [
        road.request(agent, f"question {number}", conversation_id=conversation)
        for number in range(1, 4)
    ]
    with ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(road.ask, agent, f"question {number}", conversation_id=conversation)
            for number in range(4, 8)
        ]
        over_http = [future.result().body for future in asked]
    replies = [road.reply_to(key) for key in keys]
    assert {run["status"] for run in [*replies, *over_http]} == {"completed"}
    items = road.call("GET", f"/api/conversations/{conversation}/messages").body["items"]
    assert len(items) == 16
    for question, answer in zip(items[::2], items[1::2], strict=True):
        assert (question["role"], answer["role"]) == ("user", "assistant")
        assert question["run_id"] == answer["run_id"]
        assert answer["content"] == f"re: {question['content']}"


def test_the_same_idempotency_key_twenty_times_at_once_is_one_run(road: Road, model: Model) -> None:
    agent = road.live(a_name("twenty"))
    message = f"only once {uuid.uuid4().hex}"
    model.answers_with(lambda messages: f"answer to {messages[-1]['content']}", delay=0.3)
    key, barrier = a_name("key"), threading.Barrier(20)

    def ask(_: int) -> Any:
        barrier.wait(timeout=20)
        headers = {"Idempotency-Key": key}
        path = f"/api/agents/{agent}/run"
        return road.call("POST", path, {"message": message}, headers=headers)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(20)))
    assert {answer.status for answer in answers} == {200}
    assert all(answer.body == answers[0].body for answer in answers)
    assert answers[0].body["output"] == f"answer to {message}"
    assert model.asked(message) == 1
    other = road.call(
        "POST",
        f"/api/agents/{agent}/run",
        {"message": "something else"},
        headers={"Idempotency-Key": key},
    )
    assert (other.status, other.code) == (422, "idempotency_conflict")


def test_the_same_queue_message_ten_times_is_one_run_and_one_reply(
    road: Road, model: Model
) -> None:
    agent = road.live(a_name("ten"))
    message, key = f"only once {uuid.uuid4().hex}", a_name("key")
    for _ in range(10):
        road.send({"version": 1, "agent_id": agent, "message": message}, message_id=key)
    assert road.reply_to(key)["status"] == "completed"
    assert model.asked(message) == 1
    assert road.no_more_replies(key)
    road.send({"version": 1, "agent_id": agent, "message": "another"}, message_id=key)
    refused = road.reply_to(key)
    assert (refused["type"], refused["error"]["code"]) == ("run.refused", "idempotency_conflict")


def test_a_run_is_accepted_without_waiting_and_cancelled(road: Road, model: Model) -> None:
    agent = road.live(a_name("cancel"))
    with model.held():
        accepted = road.ask(agent, "Take your time", wait_seconds=0)
        assert accepted.status == 202
        run_id = accepted.body["run_id"]
        assert accepted.headers["location"].endswith(f"/api/runs/{run_id}")
        assert int(accepted.headers["retry-after"]) >= 1
        eventually(
            lambda: road.call("GET", f"/api/runs/{run_id}").body["status"] == "in_progress" or None,
            seconds=10,
        )
        assert road.call("POST", f"/api/runs/{run_id}/cancel").status == 202
        run = road.ended(run_id)
    assert (run["status"], run["error"], run["output"]) == ("cancelled", None, "")
    assert road.call("POST", f"/api/runs/{run_id}/cancel").body["status"] == "cancelled"


def test_a_run_is_cancelled_through_the_queue_and_its_end_is_the_answer(
    road: Road, model: Model
) -> None:
    agent = road.live(a_name("cancel"))
    with model.held():
        key = road.request(agent, "Take your time")
        run_id = eventually(
            lambda: next(
                (
                    run["run_id"]
                    for run in road.call("GET", f"/api/runs?agent_id={agent}").body["items"]
                    if run["status"] == "in_progress"
                ),
                None,
            ),
            seconds=10,
        )
        cancel = road.send({"version": 1, "type": "run.cancel", "run_id": run_id})
        reply = road.reply_to(key)
    assert (reply["type"], reply["run_id"]) == ("run.cancelled", run_id)
    assert road.no_more_replies(cancel)


def test_a_disabled_agent_refuses_and_an_unknown_one_is_not_found(road: Road) -> None:
    agent = road.live(a_name("off"))
    etag = road.upload(
        f"agents/{agent}.json", {"agent_id": agent, "purpose": "Rest.", "enabled": False}
    )
    assert road.judged(f"agents/{agent}", etag)["state"] == "disabled"

    def refused() -> str | None:
        answer = road.ask(agent, "Hello")
        return answer.code if answer.status == 409 else None

    assert eventually(refused, seconds=5) == "agent_disabled"
    nobody = road.ask("nobody-at-all", "Hello")
    assert (nobody.status, nobody.code) == (404, "agent_not_found")
    reply = road.reply_to(road.request("nobody-at-all", "Hello"))
    assert (reply["type"], reply["error"]["code"]) == ("run.refused", "agent_not_found")
    assert reply["status"] == "refused"


def test_a_card_that_is_deleted_removes_the_agent(road: Road) -> None:
    agent = road.live(a_name("gone"))
    road.config.delete_blob(f"agents/{agent}.json")
    eventually(
        lambda: (road.status(f"agents/{agent}") or {}).get("state") == "removed" or None,
        seconds=LIVE_SECONDS,
    )
    answer = eventually(
        lambda: ((found := road.ask(agent, "Hello")).status == 404 and found) or None, seconds=5
    )
    assert answer.code == "agent_removed"


def test_an_earlier_version_is_put_back_by_rollback(road: Road, model: Model) -> None:
    agent = road.live(a_name("back"), purpose="First.")
    first = road.call("GET", f"/api/agents/{agent}").body["digest"]
    second = road.call("PUT", f"/api/agents/{agent}", {"agent_id": agent, "purpose": "Second."})
    assert second.status == 200
    versions = road.call("GET", f"/api/agents/{agent}/versions").body["items"]
    assert [version["digest"] for version in versions] == [second.body["digest"], first]
    back = road.call("POST", f"/api/agents/{agent}/rollback", {"digest": first})
    assert (back.status, back.body["digest"]) == (200, first)
    assert road.ask(agent, "Hello").body["card_digest"] == first
    assert "First." in model.last_messages[0]["content"]


def test_a_missing_adapter_falls_back_to_the_base_model_unless_it_is_required(road: Road) -> None:
    soft = road.live(a_name("soft"), adapter_name="nowhere")
    assert road.ask(soft, "Hello").body["status"] == "completed"
    hard = road.live(a_name("hard"), adapter_name="nowhere", adapter_required=True)
    run = road.ask(hard, "Hello").body
    assert (run["status"], run["error"]["code"]) == ("failed", "adapter_unavailable")
    served = road.live(a_name("served"), adapter_name="lora-ceo")
    assert road.ask(served, "Hello").body["model"] == "lora-ceo"


def test_an_output_too_large_for_the_bus_is_replaced_by_its_address(
    road: Road, model: Model
) -> None:
    agent = road.live(a_name("large"))
    model.says("x" * 300_000)
    reply = road.reply_to(road.request(agent, "Everything, please"))
    assert (reply["output"], reply["output_parts"]) == (None, None)
    url = reply["details"]["url"]
    assert url.startswith(road.main)
    seen = road.call("GET", url.removeprefix(road.main)).body
    assert seen["output"] == "x" * 300_000


def test_an_hour_of_an_absent_model_is_a_wait_and_not_a_failure(road: Road, model: Model) -> None:
    """The wait itself is the simulation's; here: a model that fails a few times is asked again."""
    agent = road.live(a_name("patient"))
    model.fails(503, times=2)
    answer = road.ask(agent, "Hello")
    assert answer.body["status"] == "completed"
    model.fails(400, times=1)
    rejected = road.ask(agent, "Hello").body
    assert (rejected["status"], rejected["error"]["code"]) == ("failed", "model_rejected")
    model.fails(401, times=1)
    held = road.ask(agent, "Hello", wait_seconds=0).body["run_id"]
    with pytest.raises(AssertionError, match="did not happen within 3 s"):
        road.ended(held, seconds=3)  # a wrong key is waited for, like an outage
    road.call("POST", f"/api/runs/{held}/cancel")
    assert road.ended(held)["status"] == "cancelled"
