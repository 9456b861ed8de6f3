"""A transcript of each run is kept in `aos-logs`, and a deletion wins over a late job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import azure.functions as func
import pytest

from aos.adapters.memory import MemoryEraser
from aos.adapters.memory.blobs import MemoryBlobStore
from aos.domain.envelope import Approve, to_realm
from aos.domain.jobs import ArchiveRun, JobError, write_job
from aos.domain.runs.run import Run
from aos.domain.transcripts import make_transcript_name
from aos.testing import MemoryWorld, ScriptedModel

ON = {"AOS_TRANSCRIPTS": "on"}
NEWER = b'{"type":"ArchiveRun","version":2,"run_id":"r","conversation_id":"c"}'
CARD = {"agent_id": "ceo", "purpose": "Lead."}


async def make_world(
    *answers: str, settings: Mapping[str, str] = ON, logs: type[MemoryBlobStore] = MemoryBlobStore
) -> MemoryWorld:
    model = ScriptedModel()
    model.then(*answers)
    world = MemoryWorld(model=model, settings=settings)
    world.logs = logs(clock=world.clock)
    eraser = MemoryEraser(world.tables, logs=world.logs)
    world.ports = replace(world.ports, logs=world.logs, eraser=eraser)
    await world.put_agent(CARD)
    return world


async def read_lines(world: MemoryWorld, run: Run) -> list[dict[str, Any]]:
    blob = await world.logs.read(make_transcript_name(run.conversation_id, run.run_id))
    return [json.loads(line) for line in blob.body.splitlines()]


async def list_names(world: MemoryWorld) -> list[str]:
    return [blob.name for blob in await world.logs.list("")]


def deliver_again(world: MemoryWorld, run: Run) -> None:
    job = ArchiveRun(run_id=run.run_id, conversation_id=run.conversation_id)
    world.broker.jobs.append(write_job(job))


async def test_a_transcript_has_the_request_the_messages_and_the_run() -> None:
    world = await make_world("Four.")
    run = await world.ask("ceo", "2 + 2?", metadata={"case": 7}, owner="ann")
    request, question, answer, ended = await read_lines(world, run)
    assert (request["type"], request["agent_id"], request["owner"]) == ("request", "ceo", "ann")
    assert request["body"] == {
        "message": "2 + 2?",
        "conversation_id": run.conversation_id,
        "metadata": {"case": 7},
    }
    said = [(line["type"], line["role"], line["content"]) for line in (question, answer)]
    assert said == [("message", "user", "2 + 2?"), ("message", "assistant", "Four.")]
    assert (ended["type"], ended["status"], ended["output"]) == ("run", "completed", "Four.")


async def test_the_request_of_a_transcript_can_be_asked_again() -> None:
    world = await make_world("Four.", "Still four.")
    first = await world.ask("ceo", "2 + 2?", metadata={"case": 7})
    request = (await read_lines(world, first))[0]
    again = await world.ask(request["agent_id"], **request["body"])
    assert (again.output, again.metadata) == ("Still four.", {"case": 7})
    assert again.conversation_id == first.conversation_id


async def test_no_transcript_is_written_unless_the_operator_says_so() -> None:
    world = await make_world("Hi.", settings={})
    run = await world.ask("ceo", "Hello")
    assert world.broker.jobs == []
    deliver_again(world, run)  # ordered before transcripts were switched off
    await world.settle()
    assert await list_names(world) == []


async def test_each_run_of_a_conversation_has_a_transcript_of_its_own() -> None:
    world = await make_world(*[f"answer {n}" for n in range(70)])
    runs = [await world.ask("ceo", f"question {n}", conversation_id="chat") for n in range(70)]
    before = await read_lines(world, runs[0])
    deliver_again(world, runs[0])  # 138 messages after its end
    await world.settle()
    assert await read_lines(world, runs[0]) == before
    said = [line["content"] for line in await read_lines(world, runs[69]) if "role" in line]
    assert said == ["question 69", "answer 69"]
    assert len(await list_names(world)) == 70


async def test_a_job_of_a_deleted_conversation_writes_nothing() -> None:
    world = await make_world("one", "two")
    run = await world.ask("ceo", "first", conversation_id="chat")
    await world.delete_conversation("chat")
    await world.advance(10)
    deliver_again(world, run)
    await world.settle()
    assert await list_names(world) == []
    later = await world.ask("ceo", "second", conversation_id="chat")
    deliver_again(world, run)
    await world.settle()
    assert await list_names(world) == [make_transcript_name("chat", later.run_id)]


async def test_what_is_removed_late_leaves_the_transcripts_of_what_has_begun_since() -> None:
    world = await make_world("one", "two")
    run = await world.ask("ceo", "first", conversation_id="chat")
    await world.delete_conversation("chat")
    await world.advance(10)
    later = await world.ask("ceo", "second", conversation_id="chat")
    late = Approve(run_id=run.run_id, conversation_id="chat", tool_call_id="call_1")
    await world.ports.bus.send(to_realm(late))
    await world.advance(10)
    assert await list_names(world) == [make_transcript_name("chat", later.run_id)]


class DeletedMeanwhile(MemoryBlobStore):
    """A container that is slow: the conversation is deleted before a write arrives."""

    world: MemoryWorld
    fails = False

    async def write(self, name: str, body: bytes, **options: Any) -> str:
        await self.world.main.services.deletions.start("chat", deleted_at=self.world.clock.now())
        await self.world.advance(20)
        etag = await super().write(name, body, **options)
        if self.fails:
            raise RuntimeError("main dies after the write")
        return etag


@pytest.mark.parametrize("dies", [False, True])
async def test_a_deletion_during_the_write_removes_what_was_written(dies: bool) -> None:
    world = await make_world("one", logs=DeletedMeanwhile)
    assert isinstance(world.logs, DeletedMeanwhile)
    world.logs.world, world.logs.fails = world, dies
    if dies:
        with pytest.raises(RuntimeError):
            await world.ask("ceo", "first", conversation_id="chat")
        (name,) = await list_names(world)
        run_id = name.rpartition("/")[2].removesuffix(".jsonl")
        job = ArchiveRun(run_id=run_id, conversation_id="chat")
        world.broker.jobs.append(write_job(job))  # the host delivers it again
        await world.settle()
    else:
        await world.ask("ceo", "first", conversation_id="chat")
    assert await list_names(world) == []


@pytest.mark.parametrize("body", [b"x", b"[]", b"{}", b'{"type":"Other"}', NEWER])
async def test_a_job_that_cannot_be_read_is_left_to_the_poison_queue(body: bytes) -> None:
    world = await make_world()
    with pytest.raises(JobError):
        await world.main.jobs.handle(func.QueueMessage(id="m1", body=body))
    assert "job_failed" in repr(vars(world.telemetry))
