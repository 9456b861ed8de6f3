"""An agent with `on_busy: reject` has one run at a time in a conversation."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from aos.adapters.memory import Kept
from aos.domain.codec import encode
from aos.domain.envelope import REQUESTS_QUEUE
from aos.domain.runs.run import AdmittedRequest
from aos.errors import OutcomeUnknown
from aos.ports.slots import Slot
from aos.services.admission import admissions
from aos.testing.triggers import make_trigger_message
from tests.unit.entrypoints.laptop_in_memory import InMemory, Reply

SINGLE = {"agent_id": "single", "purpose": "One by one.", "on_busy": "reject"}


@pytest.fixture
async def world(apps: InMemory) -> InMemory:
    await apps.put(SINGLE)
    return apps


async def ask(apps: InMemory, chat: str | None = "chat", *, key: str | None = None) -> Reply:
    """Ask and do not wait."""
    body: dict[str, Any] = {"message": "Hello", "wait_seconds": 0}
    if chat is not None:
        body["conversation_id"] = chat
    headers = {} if key is None else {"idempotency-key": key}
    return await apps.ask(body, parts={"agent_id": "single"}, headers=headers)


def queued(apps: InMemory) -> list[Kept]:
    return apps.broker.messages(REQUESTS_QUEUE)


async def test_of_forty_at_once_one_is_accepted(world: InMemory) -> None:
    """Realm does not hear of any of them before all are answered."""
    replies = await asyncio.gather(*(ask(world) for _ in range(40)))
    assert sorted(reply.status for reply in replies) == [202] + [409] * 39
    assert {reply.code for reply in replies if reply.status == 409} == {"conversation_busy"}


async def test_over_http_and_the_queue_at_once_one_is_accepted(world: InMemory) -> None:
    for number in range(20):
        body = {"version": 1, "agent_id": "single", "message": "Hi", "conversation_id": "chat"}
        world.send(body, message_id=f"q-{number}")
    messages = [make_trigger_message(kept.build_received()) for kept in queued(world)]
    await asyncio.gather(
        *(ask(world) for _ in range(20)),
        *(world.main.requests.handle(message) for message in messages),
    )
    assert len(world.tables.requests) == 1
    refused = [json.loads(kept.body)["error"]["code"] for kept in world.replies()]
    assert refused[:19] == ["conversation_busy"] * 19


async def test_the_next_is_accepted_when_the_run_has_ended(world: InMemory) -> None:
    for _ in range(3):
        assert (await ask(world)).status == 202
        assert (await ask(world)).status == 409
        await world.settle()
    assert len(world.model.calls) == 3


async def test_a_first_run_without_a_conversation_keeps_its_own_busy(world: InMemory) -> None:
    first = await ask(world, None)
    assert (await ask(world, first.body["conversation_id"])).status == 409


async def test_a_repeated_request_finds_its_run_though_the_conversation_is_busy(
    world: InMemory,
) -> None:
    first, again = await ask(world, key="k"), await ask(world, key="k")
    assert (again.status, again.body["run_id"]) == (202, first.body["run_id"])


async def test_an_admission_that_died_keeps_the_conversation_for_a_minute(world: InMemory) -> None:
    slot = Slot(conversation_id="chat", run_id="r-dead", taken_at=world.clock.now())
    await world.world.slots.take(slot, over=None)
    for _ in range(2):
        assert (await ask(world)).status == 409
        world.clock.advance(31)
    assert (await ask(world)).status == 202


async def test_a_slot_whose_answer_was_lost_is_read_again(world: InMemory) -> None:
    take = world.world.slots.take

    async def take_and_lose(slot: Slot, *, over: Slot | None) -> None:
        await take(slot, over=over)
        raise OutcomeUnknown("no answer")

    world.world.slots.take = take_and_lose  # type: ignore[method-assign]
    assert (await ask(world)).status == 202


async def test_a_slot_that_was_not_written_is_no_slot(world: InMemory) -> None:
    async def lose(slot: Slot, *, over: Slot | None) -> None:
        raise OutcomeUnknown("no answer")

    world.world.slots.take = lose  # type: ignore[method-assign]
    reply = await ask(world)
    assert (reply.status, reply.code) == (503, "unavailable")
    assert world.tables.requests == {}


async def test_other_agents_write_no_slot(world: InMemory) -> None:
    await world.ask({"message": "Hello", "wait_seconds": 0, "conversation_id": "board"})
    assert world.tables.slots == {}


async def test_storage_that_hangs_refuses_in_time(
    world: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admissions, "ADMISSION_SECONDS", 0.05)

    async def hang(request: AdmittedRequest) -> None:
        await asyncio.sleep(60)

    world.world.requests.insert = hang  # type: ignore[method-assign]
    reply = await asyncio.wait_for(ask(world, key="k"), 5)
    assert (reply.status, reply.code) == (503, "unavailable")
    assert int(reply.headers["retry-after"]) >= 1


async def test_a_start_that_hangs_does_not_keep_the_caller(
    world: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admissions, "ADMISSION_SECONDS", 0.05)

    async def hang(outgoing: object) -> None:
        await asyncio.sleep(60)

    world.world.bus.send = hang  # type: ignore[method-assign]
    reply = await asyncio.wait_for(ask(world), 5)
    assert reply.status == 202
    assert list(world.tables.requests) == [reply.body["run_id"]]


def test_rows_of_agents_that_enqueue_are_as_before() -> None:
    assert "rejects_busy" not in encode(AdmittedRequest(**_LEAST))


_LEAST: dict[str, Any] = {
    "run_id": "r",
    "conversation_id": "c",
    "agent_id": "a",
    "owner": "o",
    "door": "http",
    "message": "",
    "digest": "",
    "admitted_at": None,
    "catalog_version": 0,
}
