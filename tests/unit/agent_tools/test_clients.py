"""The client of `mcp` on PyPI, unmodified, with the newest revision and the old handshake."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anyio
import pytest
from mcp.client import Client

from aos.entrypoints.http.streams import StreamedResponse
from aos.testing import MemoryWorld, ScriptedModel
from tests.unit.agent_tools.serving import ACCEPT, NEWEST, make_request, newest, serving

COUNT = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_lists_and_asks(mode: Any) -> None:
    world = MemoryWorld(model=ScriptedModel('{"n": 3}', "Rise."))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    await world.put_agent({"agent_id": "cfo", "purpose": "Count.", "output_schema": COUNT})
    async with asyncio.timeout(20), serving(world) as url, Client(url, mode=mode) as client:
        listed = await client.list_tools()
        assert [tool.name for tool in listed.tools] == ["ask_ceo", "ask_cfo"]
        counted = await client.call_tool("ask_cfo", {"message": "How many?"})
        assert counted.structured_content == {"n": 3}
        told = await client.call_tool("ask_ceo", {"message": "Prices?"})
        assert told.content[0].text == "Rise."  # type: ignore[union-attr]


class Slow(ScriptedModel):
    """Answers when it is told to."""

    def __init__(self, *answers: Any) -> None:
        super().__init__(*answers)
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def complete(self, call: Any) -> Any:
        self.asked.set()
        await self.go_on.wait()
        return await super().complete(call)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_cancels_its_call_in_every_revision(mode: Any) -> None:
    model = Slow("Rise.")
    world = MemoryWorld(model=model)
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    began = asyncio.Event()

    async def report(*progress: Any) -> None:
        began.set()  # the stream has begun

    async with asyncio.timeout(20), serving(world) as url, Client(url, mode=mode) as client:
        with anyio.move_on_after(15) as scope:

            async def stop() -> None:
                await began.wait()
                await model.asked.wait()
                scope.cancel()

            stopping = asyncio.create_task(stop())
            await client.call_tool("ask_ceo", {"message": "Hi"}, progress_callback=report)
        await stopping
        assert await is_cancelled(world, patience=100)
        model.go_on.set()


async def is_cancelled(world: MemoryWorld, *, patience: int) -> bool:
    """Whether somebody has asked for the run's cancellation."""
    for _ in range(patience):
        sent = [json.loads(kept.body)["type"] for kept in world.broker.messages("aos-realm")]
        if "CancelRun" in sent:
            return True
        await asyncio.sleep(0.02)
    return False


@pytest.mark.parametrize(("version", "cancels"), [(NEWEST, True), ("2025-06-18", False)])
async def test_a_connection_that_ends_cancels_in_the_newest_revision_alone(
    version: str, cancels: bool
) -> None:
    model = Slow("Rise.")
    world = MemoryWorld(model=model)
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    pieces, pump = await begin_stream(world, version)
    await model.asked.wait()
    await pieces.aclose()
    assert await is_cancelled(world, patience=25) is cancels
    model.go_on.set()
    await pump


async def test_a_process_that_stops_cancels_nothing_and_names_the_run() -> None:
    model = Slow("Rise.")
    world = MemoryWorld(model=model)
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    pieces, pump = await begin_stream(world, NEWEST)
    await model.asked.wait()
    world.main.drain.begin()
    async with asyncio.timeout(10):
        text = b"".join([piece async for piece in pieces]).decode()
    (run_id,) = world.tables.requests
    assert f"Its run {run_id} goes on" in text
    assert await is_cancelled(world, patience=5) is False
    model.go_on.set()
    await pump


async def begin_stream(world: MemoryWorld, version: str) -> tuple[Any, asyncio.Task[None]]:
    """A call whose stream has begun, and what makes everything happen."""
    call = {"name": "ask_ceo", "arguments": {"message": "Hi"}, "_meta": {"progressToken": "p"}}
    body, headers = newest("tools/call", call)
    headers["mcp-protocol-version"] = version
    request = make_request("POST", json.dumps(body).encode(), {**ACCEPT, **headers})
    answer = await world.main.agent_tools.serve(request)
    assert isinstance(answer, StreamedResponse)
    assert b"has been admitted" in await anext(answer.pieces)
    return answer.pieces, asyncio.create_task(world.settle())
