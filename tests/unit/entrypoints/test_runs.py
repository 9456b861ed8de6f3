"""Runs over HTTP: asking, waiting, following, cancelling, listing."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from aos.domain.caller import Caller
from aos.domain.runs.run import Run, RunStatus
from aos.errors import Refused, TransientError
from aos.services.admission import RunRequest
from aos.testing import MemoryWorld
from tests.unit.entrypoints.laptop_in_memory import InMemory, call


async def asked(apps: InMemory, body: object, **more: Any) -> Any:
    """Ask while messages flow."""
    async with apps.pumping():
        return await apps.ask(body, **more)


async def test_a_question_is_answered_with_the_run_object(apps: InMemory) -> None:
    apps.model.then("Sell.")
    reply = await asked(
        apps,
        {"message": "What now?", "conversation_id": "board", "metadata": {"ticket": 7}},
        headers={"traceparent": "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"},
    )
    assert (reply.status, reply.body["output"], reply.body["status"]) == (200, "Sell.", "completed")
    assert reply.body["conversation_id"] == "board"
    assert reply.body["metadata"] == {"ticket": 7}
    assert list(reply.body) == [
        "run_id",
        "agent_id",
        "card_digest",
        "conversation_id",
        "status",
        "output",
        "output_parts",
        "usage",
        "model",
        "error",
        "metadata",
        "created_at",
        "started_at",
        "ended_at",
        "replay_of",
        "turns",
    ]
    assert "x-ms-session-id" not in reply.headers
    span = next(s for s in apps.telemetry.spans if s.name == "POST /api/agents/{agent_id}/run")
    assert span.traceparent == "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"


async def test_parts_become_one_text_for_the_model(apps: InMemory) -> None:
    parts = [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    await asked(apps, {"message": parts})
    assert apps.model.calls[0].messages[-1].content == "One.\n\nTwo."


async def test_a_plain_text_is_the_message(apps: InMemory) -> None:
    reply = await asked(
        apps, "Grüß Gott".encode(), headers={"content-type": "text/plain; charset=utf-8"}
    )
    assert reply.status == 200
    assert apps.model.calls[0].messages[-1].content == "Grüß Gott"


async def test_a_body_with_a_byte_order_mark_is_read(apps: InMemory) -> None:
    reply = await asked(apps, b'\xef\xbb\xbf{"message": "Hello"}')
    assert reply.status == 200


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"message": "Hello", "wait_seconds": 0}, {}),
        ({"message": "Hello"}, {"prefer": "respond-async"}),
        ({"message": "Hello"}, {"prefer": "return=minimal, Respond-Async"}),
        ({"message": "Hello", "waitForResponse": False}, {}),
    ],
)
async def test_who_does_not_wait_gets_202_and_where_to_look(
    apps: InMemory, body: object, headers: dict[str, str]
) -> None:
    reply = await apps.ask(body, headers=headers)
    assert (reply.status, reply.body["status"]) == (202, "queued")
    assert reply.headers["location"] == f"/api/runs/{reply.body['run_id']}"
    assert int(reply.headers["retry-after"]) > 0
    await apps.settle()
    later = await call(apps.main.runs.get, parts={"run_id": reply.body["run_id"]})
    assert (later.status, later.body["status"]) == (200, "completed")


async def test_a_wait_that_ends_first_answers_202_and_the_run_goes_on(apps: InMemory) -> None:
    reply = await apps.ask({"message": "Hello", "wait_seconds": 0.05})
    assert reply.status == 202


async def test_a_wait_that_ends_first_shows_the_run_as_it_then_stands(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_work(conversation_id: str, run_id: str) -> Run:
        return Run(
            run_id=run_id,
            agent_id="ceo",
            conversation_id=conversation_id,
            status=RunStatus.WAITING_APPROVAL,
            created_at=apps.clock.now(),
        )

    monkeypatch.setattr(apps.world.conversations, "find_run", at_work)
    reply = await apps.ask({"message": "Hello", "wait_seconds": 0.5})
    assert (reply.status, reply.body["status"]) == (202, "waiting_approval")


async def test_the_form_of_agent_framework_works_and_is_answered_in_kind(apps: InMemory) -> None:
    apps.model.then("Aye.", "Nay.")
    first = await asked(apps, {"message": "One?", "sessionId": "s-1", "waitForResponse": True})
    assert (first.status, first.body["response"]) == (200, "Aye.")
    assert first.headers["x-ms-session-id"] == "s-1"
    second = await asked(apps, {"message": "Two?"}, headers={"x-ms-session-id": "s-1"})
    assert (second.body["response"], second.body["conversation_id"]) == ("Nay.", "s-1")


async def test_a_repeat_gets_the_first_answer_and_asks_no_model(apps: InMemory) -> None:
    key = {"idempotency-key": "order-1"}
    first = await asked(apps, {"message": "Once?"}, headers=key)
    second = await asked(apps, {"message": "Once?", "wait_seconds": 0}, headers=key)
    assert second.body == first.body
    assert (second.status, len(apps.model.calls)) == (200, 1)


async def test_twenty_at_once_with_one_key_are_one_run(apps: InMemory) -> None:
    async with apps.pumping():
        replies = await asyncio.gather(
            *(apps.ask({"message": "Once?"}, headers={"idempotency-key": "k"}) for _ in range(20))
        )
    assert {reply.status for reply in replies} == {200}
    assert len({str(reply.body) for reply in replies}) == 1
    assert len(apps.model.calls) == 1


async def test_a_key_that_was_used_for_another_request_is_422(apps: InMemory) -> None:
    key = {"idempotency-key": "order-1"}
    await asked(apps, {"message": "Once?"}, headers=key)
    reply = await asked(apps, {"message": "Another?"}, headers=key)
    assert (reply.status, reply.code) == (422, "idempotency_conflict")


async def test_who_waits_is_woken_by_the_runs_end_itself(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unseen(conversation_id: str, run_id: str) -> None:
        return None

    monkeypatch.setattr(apps.world.conversations, "find_run", unseen)
    async with asyncio.timeout(5):
        assert (await asked(apps, {"message": "Hello"})).status == 200


async def test_an_answer_too_large_for_the_bus_reaches_who_waits_whole(apps: InMemory) -> None:
    apps.model.then("x" * 300_000)
    reply = await asked(apps, {"message": "Everything, please"})
    assert (reply.status, len(reply.body["output"])) == (200, 300_000)


async def test_an_allowed_reply_to_gets_the_reply_on_the_queue_too(apps: InMemory) -> None:
    await asked(
        apps,
        {
            "message": "Hello",
            "reply_to": "BusinessInfinity-Responses",
            "reply_to_session_id": "s",
            "correlation_id": "c-9",
        },
    )
    (kept,) = apps.replies()
    assert (kept.correlation_id, kept.session_id) == ("c-9", "s")


async def test_an_unknown_field_is_passed_over(apps: InMemory) -> None:
    reply = await asked(apps, {"message": "Hello", "colour": "red", "agent_id": "another"})
    assert (reply.status, reply.body["agent_id"]) == (200, "ceo")


async def test_no_model_is_503_and_names_the_setting(apps: InMemory) -> None:
    apps.model.is_configured = lambda: False  # type: ignore[method-assign]
    reply = await apps.ask({"message": "Hello"})
    assert (reply.status, reply.code) == (503, "model_not_configured")
    assert "AOS_MODEL_ENDPOINT" in reply.message
    assert reply.body["error"]["type"] == "operator"
    assert "retry-after" in reply.headers


async def test_a_disabled_agent_is_409_and_a_removed_one_404(apps: InMemory) -> None:
    await apps.put({"agent_id": "ceo", "purpose": "Lead.", "enabled": False})
    assert (await apps.ask({"message": "Hello"})).code == "agent_disabled"
    await apps.config.delete("agents/ceo.json")
    await apps.main.catalog_timer.tick(None)  # type: ignore[arg-type]  # it is not looked at
    assert (await apps.ask({"message": "Hello"})).code == "agent_removed"


async def test_storage_away_is_503_with_retry_after(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(run_id: str) -> None:
        raise TransientError("storage is away", retry_after_seconds=7)

    monkeypatch.setattr(apps.world.requests, "find", away)
    reply = await apps.ask({"message": "Hello"}, headers={"idempotency-key": "k"})
    assert (reply.status, reply.code) == (503, "unavailable")
    assert reply.headers["retry-after"] == "7"


async def test_a_bug_of_ours_is_500_with_an_id_that_the_log_has(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(run_id: str) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(apps.world.requests, "find", broken)
    reply = await apps.ask({"message": "Hello"}, headers={"idempotency-key": "k"})
    assert (reply.status, reply.code) == (500, "internal_error")
    assert "secret detail" not in str(reply.body)
    line = next(line for line in apps.telemetry.lines if line["event"] == "http_broken")
    assert str(line["error_id"]) in reply.message
    assert "ZeroDivisionError" in str(line["traceback"])


async def test_cancelling_is_202_and_changes_no_ended_run(apps: InMemory) -> None:
    ended = await asked(apps, {"message": "Hello"})
    again = await call(apps.main.runs.cancel, "POST", parts={"run_id": ended.body["run_id"]})
    assert (again.status, again.body) == (202, ended.body)
    waiting = await apps.ask({"message": "Hello", "wait_seconds": 0})
    run_id = waiting.body["run_id"]
    cancelled = await call(apps.main.runs.cancel, "POST", parts={"run_id": run_id})
    assert cancelled.status == 202
    assert await apps.world.requests.is_cancel_requested(run_id)


@pytest.mark.parametrize(
    "run_id", ["nope", "a/b", "0" * 3000, "11111111-1111-1111-1111-11111111111"]
)
async def test_an_unknown_run_is_404_even_when_its_id_is_malformed(
    apps: InMemory, run_id: str
) -> None:
    for route, method in ((apps.main.runs.get, "GET"), (apps.main.runs.cancel, "POST")):
        reply = await call(route, method, parts={"run_id": run_id})
        assert (reply.status, reply.code) == (404, "run_not_found")


async def test_lists_are_paged_and_their_next_is_to_be_followed(apps: InMemory) -> None:
    for number in range(5):
        apps.clock.advance(1)
        await apps.ask({"message": f"Q{number}", "wait_seconds": 0})
    await apps.settle()
    seen: list[str] = []
    query = "limit=2&status=completed&agent_id=ceo"
    while True:
        page = await call(apps.main.runs.list, query=query)
        seen += [item["run_id"] for item in page.body["items"]]
        if page.body["next"] is None:
            break
        assert (
            page.body["next"].startswith("/api/runs?agent_id=ceo")
            or "status=completed" in (page.body["next"])
        )
        query = page.body["next"].split("?")[1]
    assert (len(seen), len(set(seen))) == (5, 5)


async def test_runs_since_a_time_are_those_admitted_from_then_on(apps: InMemory) -> None:
    await apps.ask({"message": "early", "wait_seconds": 0})
    apps.clock.advance(3600)
    late = await apps.ask({"message": "late", "wait_seconds": 0})
    for since in (
        "2030-01-01T00:30:00Z",
        "2030-01-01T01:30:00%2B01:00",
        "2030-01-01T01:30:00+01:00",
    ):
        page = await call(apps.main.runs.list, query=f"since={since}")
        assert [item["run_id"] for item in page.body["items"]] == [late.body["run_id"]]


async def test_a_conversation_and_its_messages_can_be_read(apps: InMemory) -> None:
    apps.model.then("One.", "Two.")
    for text in ("first", "second"):
        await asked(apps, {"message": text, "conversation_id": "board"})
    listed = await call(apps.main.conversations.list)
    one = await call(apps.main.conversations.get, parts={"conversation_id": "board"})
    assert listed.body == {"items": [one.body], "next": None}
    assert (one.body["agent_id"], one.body["owner"], one.body["messages"]) == ("ceo", "local", 4)
    route, parts = apps.main.conversations.messages, {"conversation_id": "board"}
    page = await call(route, parts=parts, query="limit=3")
    rest = await call(route, parts=parts, query=page.body["next"].split("?")[1])
    messages = page.body["items"] + rest.body["items"]
    assert [(m["role"], m["content"]) for m in messages] == [
        ("user", "first"),
        ("assistant", "One."),
        ("user", "second"),
        ("assistant", "Two."),
    ]
    assert page.body["next"].startswith("/api/conversations/board/messages?")
    assert rest.body["next"] is None


@pytest.mark.parametrize("conversation_id", ["nope", "a b", "ü", "x" * 200])
async def test_an_unknown_conversation_is_404(apps: InMemory, conversation_id: str) -> None:
    for route in (apps.main.conversations.get, apps.main.conversations.messages):
        reply = await call(route, parts={"conversation_id": conversation_id})
        assert (reply.status, reply.code) == (404, "conversation_not_found")


@pytest.mark.parametrize("home", ["home-ceo", "home-nobody-yet"])
async def test_the_home_of_an_agent_is_begun_by_nobody_else_not_even_an_admin(
    apps: InMemory, home: str
) -> None:
    reply = await apps.ask({"message": "Hello", "conversation_id": home, "wait_seconds": 0})
    assert (reply.status, reply.code) == (404, "conversation_not_found")
    apps.send({"agent_id": "ceo", "message": "Hello", "conversation_id": home})
    await apps.settle()
    (refused,) = apps.replies()
    assert json.loads(refused.body)["error"]["code"] == "conversation_not_found"


@pytest.mark.parametrize("name", ["home", "home-", "homework", "home-CEO", "my-home-ceo"])
async def test_a_conversation_that_is_not_an_agents_home_is_anybodys(
    apps: InMemory, name: str
) -> None:
    reply = await apps.ask({"message": "Hello", "conversation_id": name, "wait_seconds": 0})
    assert reply.status == 202


async def test_an_agent_begins_its_own_home_and_not_anothers() -> None:
    world = MemoryWorld()
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    admissions = world.main.services.admissions
    wake: Any = {"door": "schedule", "scope": "agent:ceo", "caller": Caller(owner="agent:ceo")}
    home = RunRequest(agent_id="ceo", message="Plan the day.", conversation_id="home-ceo")
    admission = await admissions.admit(home, key="1", **wake)
    assert admission.request.owner == "agent:ceo"
    with pytest.raises(Refused, match="the agent's own"):
        await admissions.admit(replace(home, conversation_id="home-cfo"), key="2", **wake)
