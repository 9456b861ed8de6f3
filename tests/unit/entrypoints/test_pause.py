"""Pausing: nothing new is admitted, what was admitted goes on, and requests on the queue wait."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from aos.adapters.memory.blobs import MemoryBlobStore
from aos.domain.envelope import REQUESTS_QUEUE
from aos.errors import AosError
from aos.services.catalog.pause_switch import SETTING
from aos.testing.triggers import make_trigger_message
from tests.unit.entrypoints.conftest import CEO
from tests.unit.entrypoints.laptop_in_memory import InMemory, Reply, call

ASK = {"agent_id": "ceo", "message": "What now?"}


async def pause(apps: InMemory, body: object = b"") -> Reply:
    return await call(apps.main.operations.pause, "POST", body=body)


async def resume(apps: InMemory) -> Reply:
    return await call(apps.main.operations.resume, "POST", headers={"content-length": "0"})


def told(apps: InMemory) -> list[tuple[str, str | None]]:
    """The type of every reply, and the code of its error."""
    bodies = [json.loads(kept.body) for kept in apps.replies()]
    return [(body["type"], (body["error"] or {}).get("code")) for body in bodies]


async def test_a_pause_refuses_requests_over_http_until_the_resume(apps: InMemory) -> None:
    answer = await pause(apps, {"reason": "a bad card"})
    assert answer.status == 200
    assert answer.body["paused"] is True
    assert answer.body["pause"] == {
        "by": "local",
        "paused_at": answer.body["pause"]["paused_at"],
        "reason": "a bad card",
    }
    refused = await apps.ask(ASK)
    assert (refused.status, refused.code) == (503, "paused")
    assert "a bad card" in refused.message
    assert refused.body["error"]["retryable"] is True
    assert refused.headers["retry-after"] == "30"
    assert (await resume(apps)).body == {"paused": False, "pause": None}
    async with apps.pumping():
        assert (await apps.ask(ASK)).status == 200


async def test_a_refusal_in_a_pause_stores_nothing(apps: InMemory) -> None:
    await pause(apps)
    await apps.ask(ASK, headers={"idempotency-key": "k"})
    assert (await call(apps.main.runs.list)).body["items"] == []
    assert await apps.world.pending.list_due(apps.clock.now() + timedelta(days=1), limit=10) == []


async def test_a_second_pause_keeps_the_first(apps: InMemory) -> None:
    first = await pause(apps, {"reason": "one"})
    assert (await pause(apps, {"reason": "two"})).body == first.body


async def test_another_instance_holds_the_pause_within_five_seconds(apps: InMemory) -> None:
    other = apps.new_main()
    asked: dict[str, Any] = {"body": {"message": "Hi"}, "parts": {"agent_id": "ceo"}}
    async with apps.pumping():
        assert (await call(other.runs.start, "POST", **asked)).status == 200
    await pause(apps)
    apps.clock.advance(2)
    assert (await call(other.runs.start, "POST", **asked)).code == "paused"
    await resume(apps)
    apps.clock.advance(2)
    async with apps.pumping():
        assert (await call(other.runs.start, "POST", **asked)).status == 200


async def test_a_pause_survives_restarts_and_publications(apps: InMemory) -> None:
    await pause(apps)
    await apps.put({**CEO, "purpose": "Lead."})
    apps.main = apps.new_main()
    assert (await apps.ask(ASK)).code == "paused"
    await apps.put({**CEO, "purpose": "Follow."})
    assert (await apps.ask(ASK)).code == "paused"


async def test_aos_can_be_paused_before_anything_is_published() -> None:
    apps = InMemory()
    await pause(apps)
    assert (await apps.ask(ASK)).code == "paused"
    await apps.put(CEO)
    assert (await apps.ask(ASK)).code == "paused"
    await resume(apps)
    async with apps.pumping():
        assert (await apps.ask(ASK)).status == 200


async def test_a_request_on_the_queue_waits_and_is_served_after_the_resume(apps: InMemory) -> None:
    await pause(apps)
    apps.send(ASK, message_id="m-1", correlation_id="c-1", properties={"aos_owner": "sales"})
    await apps.settle()
    for _ in range(5):
        (kept,) = apps.broker.messages(REQUESTS_QUEUE)
        assert (kept.message_id, kept.correlation_id) == ("m-1", "c-1")
        assert kept.properties["attempt"] == 0
        assert kept.properties["aos_key"] == "m-1"
        assert kept.visible_at - apps.clock.now() <= timedelta(seconds=5)
        apps.clock.advance(5)
        await apps.settle()
    assert apps.replies() == []
    await resume(apps)
    apps.clock.advance(5)
    await apps.settle()
    assert told(apps) == [("run.completed", None)]
    (reply,) = apps.replies()
    assert reply.correlation_id == "c-1"


async def test_a_request_sent_twice_in_a_pause_runs_once(apps: InMemory) -> None:
    await pause(apps)
    apps.send(ASK, message_id="m-1")
    await apps.settle()
    apps.send(ASK, message_id="m-1")
    await apps.settle()
    await resume(apps)
    apps.clock.advance(5)
    await apps.settle()
    assert len(apps.model.calls) == 1


async def test_a_request_that_expires_in_a_pause_is_answered(apps: InMemory) -> None:
    await pause(apps)
    apps.send(ASK, message_id="m-1", ttl_seconds=7)
    await apps.settle()
    for _ in range(4):
        apps.clock.advance(3)
        await apps.settle()
    assert told(apps) == [("run.refused", "request_expired")]
    assert apps.broker.messages(REQUESTS_QUEUE) == []


async def test_a_copy_that_expired_is_not_served_after_the_resume(apps: InMemory) -> None:
    await pause(apps)
    apps.send(ASK, message_id="m-1", ttl_seconds=2)
    await apps.settle()
    await resume(apps)
    apps.clock.advance(4)
    await apps.settle()
    assert told(apps) == [("run.refused", "request_expired")]


async def test_a_request_without_room_for_a_copy_is_refused_as_paused(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise AosError("too_large", "no room")

    await pause(apps)
    monkeypatch.setattr(type(apps.bus), "postpone", full)
    apps.send(ASK)
    await apps.settle()
    assert told(apps) == [("run.refused", "paused")]


async def test_what_was_admitted_ends_in_a_pause_and_can_be_cancelled(apps: InMemory) -> None:
    asked = await apps.ask({"message": "One", "wait_seconds": 0})
    await pause(apps)
    named = {"parts": {"run_id": asked.body["run_id"]}, "headers": {"content-length": "0"}}
    assert (await call(apps.main.runs.cancel, "POST", **named)).status == 202
    assert await apps.world.requests.is_cancel_requested(asked.body["run_id"])
    await apps.settle()
    (run,) = (await call(apps.main.runs.list)).body["items"]
    assert run["ended_at"] is not None


async def test_a_cancellation_on_the_queue_works_in_a_pause(apps: InMemory) -> None:
    apps.send(ASK)
    kept = apps.broker.receive(REQUESTS_QUEUE)
    assert kept is not None
    await apps.main.requests.handle(make_trigger_message(kept.build_received()))
    await pause(apps)
    (item,) = (await call(apps.main.runs.list)).body["items"]
    apps.send({"type": "run.cancel", "run_id": item["run_id"]}, message_id="m-2")
    await apps.settle()
    assert await apps.world.requests.is_cancel_requested(item["run_id"])


async def test_health_stays_200_and_says_that_aos_is_paused(apps: InMemory) -> None:
    assert (await call(apps.main.about.health)).body["paused"] is False
    await pause(apps, {"reason": "a bad card"})
    apps.clock.advance(5)
    health = await call(apps.main.about.health)
    assert (health.status, health.body["status"]) == (200, "healthy")
    assert health.body["paused"] is True
    assert (health.body["pause"]["by"], health.body["pause"]["reason"]) == ("local", "a bad card")


async def test_who_paused_and_why_is_for_admins() -> None:
    apps = InMemory({"AOS_AUTH": "keys"})
    await apps.main.services.pause_switch.pause(by="ops", reason="a bad card")
    health = await call(apps.main.about.health)
    assert health.body["paused"] is True
    assert "pause" not in health.body


@pytest.mark.parametrize("route", ["pause", "resume"])
async def test_only_admins_pause_and_resume(route: str) -> None:
    apps = InMemory({"AOS_AUTH": "keys"})
    given = {"headers": {"x-functions-key": "k", "content-length": "0"}}
    answer = await call(getattr(apps.main.operations, route), "POST", **given)
    assert (answer.status, answer.code) == (403, "forbidden")


@pytest.mark.parametrize("body", [{"reason": 7}, {"reason": "x" * 1025}, [], b"{"])
async def test_a_pause_with_a_body_that_cannot_be_read_is_refused(
    apps: InMemory, body: object
) -> None:
    assert (await pause(apps, body)).code == "invalid_request"
    async with apps.pumping():
        assert (await apps.ask(ASK)).status == 200


async def test_the_setting_holds_a_pause_that_resume_cannot_end() -> None:
    apps = InMemory({SETTING: "true"})
    await apps.put(CEO)
    assert (await apps.ask(ASK)).code == "paused"
    answer = await resume(apps)
    assert (answer.status, answer.code) == (409, "precondition_failed")
    assert SETTING in answer.message
    assert (await call(apps.main.about.health)).body["pause"]["by"] == f"setting {SETTING}"


async def test_a_pause_costs_an_admission_no_read_of_its_own(
    apps: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The switch comes with the catalog's head, which is read at most every two seconds."""
    reads: list[str] = []
    whole = MemoryBlobStore.read_if_changed

    async def counted(store: MemoryBlobStore, name: str, *, etag: str) -> Any:
        reads.append(name)
        return await whole(store, name, etag=etag)

    monkeypatch.setattr(MemoryBlobStore, "read_if_changed", counted)
    apps.clock.advance(3)
    await apps.ask({"message": "Hi", "wait_seconds": 0})
    await apps.ask({"message": "Hi", "wait_seconds": 0})
    assert reads == ["catalog/head.json"]


async def test_a_repeat_of_an_accepted_request_gets_its_run_in_a_pause(apps: InMemory) -> None:
    asked: dict[str, Any] = {"message": "Hi", "wait_seconds": 0}
    first = await apps.ask(asked, headers={"idempotency-key": "k"})
    await pause(apps)
    again = await apps.ask(asked, headers={"idempotency-key": "k"})
    assert (again.status, again.body["run_id"]) == (202, first.body["run_id"])
    assert (await apps.ask(asked, headers={"idempotency-key": "other"})).code == "paused"


@pytest.mark.parametrize(("length", "status"), [(1024, 200), (1025, 400)])
async def test_a_reason_may_be_as_long_as_the_refusal_says(
    apps: InMemory, length: int, status: int
) -> None:
    answer = await pause(apps, {"reason": "x" * length})
    assert answer.status == status
    assert status == 200 or "at most 1,024 characters" in answer.message


async def test_a_body_that_is_not_an_object_is_told_where_the_fields_are(apps: InMemory) -> None:
    answer = await pause(apps, [])
    assert (answer.status, "/api/openapi.json" in answer.message) == (400, True)
