"""The client of `mcp` on PyPI asks an agent while realm is killed, and is answered."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from mcp.client import Client

from tests.e2e.conftest import Model
from tests.e2e.road import Road

SECONDS = 60.0


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_agent_answers_though_realm_is_killed(road: Road, model: Model, mode: Any) -> None:
    agent = await asyncio.to_thread(road.live, f"mcp-{uuid.uuid4().hex[:8]}")
    model.says("Rise.")
    async with asyncio.timeout(SECONDS), Client(f"{road.main}/api/mcp", mode=mode) as client:
        with model.held() as hold:
            asking = asyncio.create_task(client.call_tool(f"ask_{agent}", {"message": "Prices?"}))
            await asyncio.to_thread(hold.wait_for, 1, seconds=20)
            await asyncio.to_thread(road.laptop.child("realm").kill9)
        told = await asking
    assert told.is_error is False
    assert told.content[0].text == "Rise."  # type: ignore[union-attr]
