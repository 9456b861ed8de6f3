"""Measures what walls cost the start of an MCP server and a call. Entry point: `compare`."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

from aos.adapters.mcp.launching import Launcher, LaunchPlace
from aos.adapters.mcp.process import Isolation
from aos.adapters.mcp.servers import McpServers
from aos.adapters.memory import MemorySecrets
from aos.domain.cards.policy import CardPolicy
from aos.domain.cards.server_card import McpServerCard
from devhost.laptop import REPOSITORY

PREFIX = "npx -y @modelcontextprotocol/"
EVERYTHING = McpServerCard(
    server_id="everything", command="npx", args=("-y", "@modelcontextprotocol/server-everything")
)
CALLS = 50
SIDES: tuple[Isolation, ...] = ("off", "auto")


async def compare(home: Path, *, rounds: int) -> dict[Isolation, tuple[list[float], list[float]]]:
    """Return the seconds to the first list of tools and of one call, without walls and with them,
    in alternation."""
    found: dict[Isolation, tuple[list[float], list[float]]] = {side: ([], []) for side in SIDES}
    for number in range(rounds + 1):
        for side in SIDES if number % 2 else reversed(SIDES):
            start, call = await _measure_once(home, side)
            if number:  # the first round fills the caches
                found[side][0].append(start)
                found[side][1].append(call)
    return found


async def _measure_once(home: Path, isolation: Isolation) -> tuple[float, float]:
    async with _open_servers(home, isolation) as servers:
        began = time.perf_counter()
        await servers.list_tools(EVERYTHING, "d1")
        started = time.perf_counter()
        async with servers.hold(EVERYTHING, "d1") as line:
            for _ in range(CALLS):
                await line.call("echo", {"message": "hi"}, timeout_seconds=10)
        return started - began, (time.perf_counter() - started) / CALLS


@contextlib.asynccontextmanager
async def _open_servers(home: Path, isolation: Isolation) -> AsyncIterator[McpServers]:
    place = LaunchPlace(
        path=os.environ["PATH"], home=str(home), folder=str(REPOSITORY), isolation=isolation
    )
    policy = CardPolicy(mcp_allowed=(PREFIX,))
    servers = McpServers(Launcher(place, policy=policy, secrets=MemorySecrets()))
    try:
        yield servers
    finally:
        await servers.close()
