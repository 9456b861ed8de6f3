"""A world with an agent, and a client of OpenAI for it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.openai_door.in_process import Transport, World, connect

CEO = {"agent_id": "ceo", "purpose": "Lead the company."}


@pytest.fixture
async def world() -> World:
    world = World(settings={"AOS_VISION_MODELS": "scripted", "AOS_MODEL": "scripted"})
    await world.put_agent(CEO)
    return world


@pytest.fixture
def transport(world: World) -> Transport:
    return Transport(world)


@pytest.fixture
def client(transport: Transport) -> Any:
    return connect(transport)
