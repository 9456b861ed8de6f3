"""A stream of A2A tells the task first, then what happens to it, and what a client has at its end
is the task."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from aos.domain.runs.run_events import RunEvent
from aos.entrypoints.http.a2a.updates import TaskUpdates
from aos.entrypoints.http.streams import StreamedResponse
from aos.errors import TransientError
from aos.testing import Calls, MemoryWorld
from tests.samples import NOON, a_request
from tests.unit.a2a.kit import (
    VERSION,
    a_message,
    a_world,
    collect,
    let,
    make_request,
    rpc,
    send,
    state_of,
    stream,
)

FACT = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def outputs(told: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The artifact as a client has it after each update."""
    parts: list[dict[str, Any]] = []
    found = []
    for item in told:
        for task in (item.get("task") or {}).get("artifacts", []):
            parts = task["parts"]
        if "artifactUpdate" in item:
            update = item["artifactUpdate"]
            new = update["artifact"]["parts"]
            parts = [*parts, *new] if update["append"] else new
            found.append(parts)
    return found


def joined(parts: list[dict[str, Any]]) -> str:
    """The text of parts."""
    return "".join(part["text"] for part in parts)


async def test_the_text_comes_in_chunks_and_is_the_output_at_the_end() -> None:
    world = await a_world("One two three.")
    told = await stream(world, "SendStreamingMessage", {"message": a_message("Count.")})
    assert state_of(told[0]["task"]) == "SUBMITTED"
    assert told[0]["task"]["history"][0]["parts"] == [{"text": "Count."}]
    kinds = [next(iter(item)) for item in told]
    assert kinds[1] == "statusUpdate"
    assert kinds[-1] == "statusUpdate"
    chunks = [item["artifactUpdate"] for item in told if "artifactUpdate" in item]
    assert [chunk["append"] for chunk in chunks[:2]] == [False, True]
    assert [chunk["lastChunk"] for chunk in chunks][-1] is True
    assert joined(outputs(told)[-1]) == "One two three."
    end = told[-1]["statusUpdate"]
    assert (state_of(end), end["metadata"]["aos"]["usage"]["output_tokens"]) == ("COMPLETED", 3)


async def test_what_an_agent_says_before_its_output_is_not_the_output() -> None:
    world = await a_world(Calls(("clock__now", {}), text="I look."), "Noon it is.")
    told = await stream(world, "SendStreamingMessage", {"message": a_message("When?")})
    assert joined(outputs(told)[-1]) == "Noon it is."
    said = [
        item["statusUpdate"]["status"]["message"]["parts"][0]["text"]
        for item in told
        if "message" in item.get("statusUpdate", {}).get("status", {})
    ]
    assert said == ["I look."]


async def test_data_comes_whole() -> None:
    world = await a_world('{"n": 4}', card={"output_schema": FACT})
    told = await stream(world, "SendStreamingMessage", {"message": a_message("How many?")})
    assert outputs(told) == [[{"data": {"n": 4}, "mediaType": "application/json"}]]


async def test_a_message_streamed_again_tells_the_ended_task_alone() -> None:
    world = await a_world("Once.")
    task = await send(world, "Hi")
    (item,) = await stream(world, "SendStreamingMessage", {"message": a_message("Hi")})
    assert item["task"]["id"] == task["id"]
    assert item["task"]["artifacts"] == task["artifacts"]


async def test_a_subscriber_gets_the_task_as_it_is_and_then_the_rest() -> None:
    world = await a_world(*[TransientError("away")] * 2, "Back again.")
    task = await send(world, "Hi", configuration={"returnImmediately": True})
    told = await stream(world, "SubscribeToTask", {"id": task["id"]})
    assert told[0]["task"]["id"] == task["id"]
    assert state_of(told[-1]["statusUpdate"]) == "COMPLETED"
    assert joined(outputs(told)[-1]) == "Back again."
    late = await rpc(world, "SubscribeToTask", {"id": task["id"]})
    assert late.reason == "UNSUPPORTED_OPERATION"


async def test_two_readers_of_one_task_are_told_the_same() -> None:
    world = await a_world("One two three four.")
    task = await send(world, "Hi", configuration={"returnImmediately": True})
    first, second = await let(world, _both(world, task["id"]))
    assert joined(outputs(first)[-1]) == joined(outputs(second)[-1]) == "One two three four."


async def _both(world: MemoryWorld, task_id: str) -> list[list[dict[str, Any]]]:
    body = {"jsonrpc": "2.0", "id": 7, "method": "SubscribeToTask", "params": {"id": task_id}}
    answers = [
        await world.main.a2a.rpc(make_request("POST", body, VERSION, {"agent_id": "ceo"}))
        for _ in range(2)
    ]
    streams = [answer for answer in answers if isinstance(answer, StreamedResponse)]
    return await asyncio.gather(*map(collect, streams))


def an_event(number: str, kind: Any, *, turn: int | None = 1, **data: Any) -> RunEvent:
    """An event of a run."""
    return RunEvent(id=number, type=kind, time=NOON, turn=turn, data=data)


def test_a_model_that_is_asked_again_replaces_what_it_wrote() -> None:
    """So it is after a kill: the second attempt writes something else."""
    updates = TaskUpdates(a_request())
    told: list[dict[str, Any]] = []
    for event in (
        an_event("2", "run.started", turn=None),
        an_event("2.1.1", "attempt.started", attempt=1),
        an_event("2.1.2", "message.delta", text="The sky"),
        an_event("2.1.3", "message.delta", text=" is red"),
        an_event("2.2.1", "attempt.started", attempt=2),
        an_event("2.2.2", "message.delta", text="The sky"),
        an_event("2.2.3", "message.delta", text=" is blue"),
        an_event("3", "message.completed", content="The sky is blue."),
        an_event("4", "run.completed", turn=None, usage={}),
    ):
        assert not updates.needs_run(event)
        told += updates.read(event)
    chunks = [
        (item["artifactUpdate"]["append"], joined(item["artifactUpdate"]["artifact"]["parts"]))
        for item in told
        if "artifactUpdate" in item
    ]
    assert chunks == [
        (False, "The sky"),
        (True, " is red"),
        (False, "The sky is blue"),
        (True, "."),
    ]
    assert joined(outputs(told)[-1]) == "The sky is blue."


def test_a_subscriber_in_the_middle_gets_what_was_written_as_the_artifact() -> None:
    updates = TaskUpdates(a_request())
    for event in (
        an_event("2.1.1", "attempt.started", attempt=1),
        an_event("2.1.2", "message.delta", text="The sky"),
    ):
        updates.read(event)
    (artifact,) = updates.told
    assert joined(artifact["parts"]) == "The sky"
    (update,) = updates.read(an_event("2.1.3", "message.delta", text=" is"))
    assert update["artifactUpdate"]["append"] is True


@pytest.mark.parametrize("binding", ["rpc", "rest"])
@pytest.mark.parametrize("error", [RuntimeError("secret"), TransientError("storage is away")])
async def test_a_fault_in_the_middle_is_an_error_of_the_binding(
    binding: str, error: Exception
) -> None:
    world = await a_world("One two three.")
    follow = world.main.caller_runs.follow

    async def break_down(*args: Any, **more: Any) -> AsyncGenerator[RunEvent | None, None]:
        async for event in follow(*args, **more):
            yield event
            if event is not None and event.type == "message.delta":
                raise error

    world.main.caller_runs.follow = break_down  # type: ignore[method-assign]
    params = {"message": a_message("Count.")}
    body: Any = {"jsonrpc": "2.0", "id": 7, "method": "SendStreamingMessage", "params": params}
    parts = {"agent_id": "ceo"}
    serve = world.main.a2a.rpc
    if binding == "rest":
        body, parts, serve = params, {**parts, "path": "message:stream"}, world.main.a2a.rest
    answer = await let(world, serve(make_request("POST", body, VERSION, parts)))
    assert isinstance(answer, StreamedResponse)
    reading = asyncio.ensure_future(_join(answer))
    *_, last = (await let(world, reading)).strip().split("\n\n")
    assert last.startswith("event: error\ndata: ")
    told = json.loads(last.partition("data: ")[2])
    assert told["error"]["code"] == (-32603 if binding == "rpc" else told["error"]["code"])
    details = told["error"]["data" if binding == "rpc" else "details"]
    assert details[0]["reason"] == "INTERNAL_ERROR"
    assert "secret" not in last


async def _join(answer: StreamedResponse) -> str:
    return b"".join([piece async for piece in answer.pieces]).decode()
