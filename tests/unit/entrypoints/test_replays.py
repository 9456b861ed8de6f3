"""Ended runs that are asked again over HTTP."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from aos.errors import RunFailed
from tests.unit.entrypoints.laptop_in_memory import InMemory, Reply, call
from tests.unit.entrypoints.test_callers import KEYS, ask, key

SINCE = "2020-01-01T00:00:00Z"
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(9)).decode()


async def replay(apps: InMemory, run_id: str, **more: Any) -> Reply:
    reply = await call(apps.main.replays.one, "POST", parts={"run_id": run_id}, **more)
    await apps.settle()
    return reply


async def failed(apps: InMemory, **more: Any) -> dict[str, Any]:
    """A run that the model has refused."""
    apps.model.then(RunFailed("model_rejected", "no"))
    async with apps.pumping():
        body: dict[str, Any] = (await apps.ask({"message": "Hello", **more})).body
    assert body["error"]["code"] == "model_rejected"
    return body


async def read(apps: InMemory, run_id: str) -> dict[str, Any]:
    body: dict[str, Any] = (await call(apps.main.runs.get, parts={"run_id": run_id})).body
    return body


async def test_an_ended_run_is_asked_again_as_a_new_one_with_a_reply_of_its_own(
    apps: InMemory,
) -> None:
    address = {"reply_to": "businessinfinity-responses", "correlation_id": "order-7"}
    first = await failed(apps, metadata={"ticket": 7}, **address)
    apps.model.then("Sell.")
    reply = await replay(apps, first["run_id"])
    assert (reply.status, reply.body["replay_of"]) == (202, first["run_id"])
    run = await read(apps, reply.body["run_id"])
    assert (run["status"], run["output"], run["metadata"]) == ("completed", "Sell.", {"ticket": 7})
    assert run["replay_of"] == first["run_id"]
    assert run["conversation_id"] == run["run_id"] != first["run_id"]
    sent = [(kept.message_id, kept.correlation_id) for kept in apps.replies()]
    assert sent == [
        (f"{first['run_id']}:reply", "order-7"),
        (f"{run['run_id']}:reply", "order-7"),
    ]


async def test_a_replay_is_repeated_only_under_another_key(apps: InMemory) -> None:
    first = await failed(apps)
    one = await replay(apps, first["run_id"])
    again = await replay(apps, first["run_id"])
    other = await replay(apps, first["run_id"], headers={"idempotency-key": "2"})
    assert (again.status, again.body["run_id"]) == (200, one.body["run_id"])
    assert other.body["run_id"] not in (first["run_id"], one.body["run_id"])
    assert len(apps.model.calls) == 3


async def test_a_replay_stays_in_the_callers_conversation_and_shows_the_same_images() -> None:
    apps = InMemory({"AOS_MODEL": "sees", "AOS_VISION_MODELS": "sees"})
    await apps.put({"agent_id": "ceo", "purpose": "Lead."})
    image = {"type": "image", "media_type": "image/png", "data": PIXEL}
    parts = [{"type": "text", "text": "What is this?"}, image]
    first = await failed(apps, message=parts, conversation_id="board")
    reply = await replay(apps, first["run_id"])
    assert (await read(apps, reply.body["run_id"]))["status"] == "completed"
    assert reply.body["conversation_id"] == "board"
    question, again = (shown.messages[-1] for shown in apps.model.calls)
    assert question.attachments
    assert again == question


async def test_a_run_that_goes_on_is_not_replayed(apps: InMemory) -> None:
    going = await apps.ask({"message": "Hello", "wait_seconds": 0})
    reply = await call(apps.main.replays.one, "POST", parts={"run_id": going.body["run_id"]})
    assert (reply.status, reply.code) == (409, "precondition_failed")
    assert "cancel" in reply.message


@pytest.mark.parametrize("run_id", ["nonsense", "11111111-2222-3333-4444-555555555555"])
async def test_a_run_that_does_not_exist_is_not_replayed(apps: InMemory, run_id: str) -> None:
    reply = await call(apps.main.replays.one, "POST", parts={"run_id": run_id})
    assert (reply.status, reply.code) == (404, "run_not_found")


async def test_an_owner_replays_own_runs_and_an_admin_all_for_their_owner() -> None:
    apps = InMemory(KEYS)
    await apps.put({"agent_id": "ceo", "purpose": "Lead."})
    run_id = (await ask(apps, "key-1")).body["run_id"]
    parts = {"run_id": run_id}
    stranger = await call(apps.main.replays.one, "POST", parts=parts, headers=key("key-3"))
    assert (stranger.status, stranger.code) == (404, "run_not_found")
    boss = await call(apps.main.replays.one, "POST", parts=parts, headers=key("boss"))
    assert boss.status == 202
    mine = await call(apps.main.replays.one, "POST", parts=parts, headers=key("key-1"))
    assert mine.body["run_id"] == boss.body["run_id"]
    assert apps.tables.requests[mine.body["run_id"]].request.owner == "sales"
    body = {"error_code": "internal_error", "since": SINCE}
    many = await call(apps.main.replays.many, "POST", body=body, headers=key("key-1"))
    assert (many.status, many.code) == (403, "forbidden")


async def test_all_runs_with_an_error_code_are_replayed_page_by_page(apps: InMemory) -> None:
    wanted = [(await failed(apps))["run_id"] for _ in range(3)]
    async with apps.pumping():
        await apps.ask({"message": "Fine"})
    apps.model.then(RunFailed("content_filtered", "no"))
    async with apps.pumping():
        await apps.ask({"message": "Otherwise"})
    body: dict[str, Any] = {"error_code": "model_rejected", "since": SINCE, "limit": 2}
    looked = await call(apps.main.replays.many, "POST", body={**body, "dry_run": True})
    none = {"replay_run_id": None, "error": None}
    assert looked.body["items"] == [{"run_id": run_id, **none} for run_id in wanted[:0:-1]]
    before = len(apps.tables.requests)
    found: dict[str, str] = {}
    query = ""
    while True:
        page = await call(apps.main.replays.many, "POST", body=body, query=query)
        assert len(page.body["items"]) <= 2
        found |= {item["run_id"]: item["replay_run_id"] for item in page.body["items"]}
        if page.body["next"] is None:
            break
        query = page.body["next"].split("?")[1]
    assert sorted(found) == sorted(wanted)
    await apps.settle()
    for run_id, replay_run_id in found.items():
        run = await read(apps, replay_run_id)
        assert (run["status"], run["replay_of"]) == ("completed", run_id)
    assert len(apps.tables.requests) == before + 3


async def test_a_run_that_cannot_be_replayed_does_not_stop_the_others(apps: InMemory) -> None:
    await apps.put({"agent_id": "cfo", "purpose": "Count."})
    run_id = (await failed(apps))["run_id"]
    apps.model.then(RunFailed("model_rejected", "no"))
    async with apps.pumping():
        cfo = await apps.ask({"message": "Hello"}, parts={"agent_id": "cfo"})
    await call(apps.main.agents.delete, "DELETE", parts={"agent_id": "cfo"})
    body = {"error_code": "model_rejected", "since": SINCE}
    page = await call(apps.main.replays.many, "POST", body=body)
    items = {item["run_id"]: item for item in page.body["items"]}
    assert items[cfo.body["run_id"]]["error"]["code"] == "agent_removed"
    assert items[run_id]["error"] is None
    only = await call(apps.main.replays.many, "POST", body={**body, "agent_id": "cfo"})
    assert [item["run_id"] for item in only.body["items"]] == [cfo.body["run_id"]]


async def test_what_was_asked_in_a_deleted_conversation_cannot_be_replayed(
    apps: InMemory,
) -> None:
    run_id = (await failed(apps, conversation_id="board"))["run_id"]
    parts = {"conversation_id": "board"}
    gone = await call(apps.main.conversations.delete, "DELETE", parts=parts)
    assert gone.status == 202
    await apps.settle()
    reply = await call(apps.main.replays.one, "POST", parts={"run_id": run_id})
    assert (reply.status, reply.code) == (404, "conversation_deleted")
    body = {"error_code": "model_rejected", "since": SINCE}
    page = await call(apps.main.replays.many, "POST", body=body)
    assert [item["replay_run_id"] for item in page.body["items"]] in ([], [None])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"since": SINCE}, "error_code is missing"),
        ({"error_code": "timeout"}, "since is missing"),
        ({"error_code": "x", "since": "yesterday"}, "write a time with its offset"),
        ({"error_code": "x", "since": SINCE, "limit": 101}, "a whole number from 1 to 100"),
        ({"error_code": "x", "since": SINCE, "dry_run": "no"}, "true or false"),
        ({"error_code": "X Y", "since": SINCE}, "error code of the runs"),
    ],
)
async def test_a_filter_that_says_too_little_is_refused(
    apps: InMemory, body: object, says: str
) -> None:
    reply = await call(apps.main.replays.many, "POST", body=body)
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert says in reply.message
