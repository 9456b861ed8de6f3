"""A call of an older revision is cancelled by the id of its request in its session."""

from __future__ import annotations

import asyncio
from typing import Any

from aos.testing import MemoryWorld
from tests.unit.agent_tools.serving import post
from tests.unit.agent_tools.test_clients import Slow, is_cancelled
from tests.unit.entrypoints.keys import list_keys

OLD = {"mcp-protocol-version": "2025-06-18"}


def call(message: str, request_id: Any = 1) -> dict[str, Any]:
    params = {"name": "ask_ceo", "arguments": {"message": message}}
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}


def cancel(request_id: Any) -> dict[str, Any]:
    params = {"requestId": request_id}
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}


async def slow(*answers: str, **settings: str) -> tuple[MemoryWorld, Slow]:
    model = Slow(*answers)
    world = MemoryWorld(model=model, settings=settings)
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    return world, model


async def test_only_the_call_of_the_same_session_id_and_owner_is_cancelled() -> None:
    world, model = await slow("Rise.", AOS_AUTH="keys", AOS_KEY_OWNERS=list_keys("ann", "bob"))
    ann = {**OLD, "mcp-session-id": "s", "x-functions-key": "ann"}
    calling = asyncio.create_task(post(world, call("Hi"), **ann))
    async with asyncio.timeout(10):
        await model.asked.wait()
        for wrong in ("1", True, None, [1], 2):
            assert (await post(world, cancel(wrong), **ann)).status in (202, 400)
        await post(world, cancel(1), **{**ann, "mcp-session-id": "other"})
        await post(world, cancel(1), **{**ann, "x-functions-key": "bob"})
        await post(world, cancel(1), **{**OLD, "x-functions-key": "ann"})
        assert await is_cancelled(world, patience=3) is False
        assert (await post(world, cancel(1), **ann)).status == 202
        assert await is_cancelled(world, patience=100)
        model.go_on.set()
        await calling


async def test_a_client_that_uses_an_id_twice_asks_twice() -> None:
    world, model = await slow("One.", "Two.", "Three.")
    model.go_on.set()
    headers = {**OLD, "mcp-session-id": "s"}
    for message, says in [("Hi", "One."), ("Hi", "Two."), ("Ho", "Three.")]:
        told = await post(world, call(message), **headers)
        assert told.result["content"][0]["text"] == says
