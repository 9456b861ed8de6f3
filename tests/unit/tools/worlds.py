"""Worlds with agents that have tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aos.domain.runs.conversation import Message
from aos.testing import Answer, MemoryWorld, ScriptedModel

CLOCK = {
    "server_id": "clock",
    "command": "npx",
    "args": ["-y", "@modelcontextprotocol/server-clock"],
}
CEO = {"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": ["clock"]}


def noon(arguments: Mapping[str, Any]) -> str:
    """The tool `now`."""
    return f"noon in {arguments.get('zone', 'UTC')}"


def nothing(arguments: Mapping[str, Any]) -> str:
    """The tool `set`, which has an effect and nothing to say."""
    return ""


async def a_world(*answers: Answer, card: dict[str, Any] | None = None) -> MemoryWorld:
    """An agent `ceo` with the tools of the server `clock`, `now` and `set`."""
    world = MemoryWorld(model=ScriptedModel(*answers))
    await world.put_mcp_server(CLOCK, {"now": noon, "set": nothing})
    await world.put_agent({**CEO, **(card or {})})
    return world


def seen_by(world: MemoryWorld, turn: int) -> list[tuple[str, str]]:
    """What the model read in a turn, without the system prompt: roles and texts."""
    assert isinstance(world.model, ScriptedModel)
    return [(m.role, m.content) for m in world.model.calls[turn].messages[1:]]


def told(history: list[Message]) -> list[tuple[str, str]]:
    """Roles and texts of a history."""
    return [(message.role, message.content) for message in history]
