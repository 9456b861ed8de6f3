"""What do the tests of MCP servers share: cards, servers of a test, what runs on this machine?"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from aos.adapters.mcp.launching import Launcher, LaunchPlace
from aos.adapters.mcp.servers import McpServers
from aos.adapters.memory import MemorySecrets
from aos.domain.cards.policy import CardPolicy
from aos.domain.cards.server_card import McpServerCard
from aos.domain.tools.server_limits import Isolation, ServerLimits
from aos.domain.tools.tool import ToolOutcome

REPOSITORY = Path(__file__).parents[3]
NASTY = str(Path(__file__).with_name("nasty_server.py"))
ASKING = str(Path(__file__).with_name("asking_server.py"))


def nasty(*arguments: str, **fields: Any) -> McpServerCard:
    """The card of the nasty server."""
    return McpServerCard(
        server_id=fields.pop("server_id", "nasty"),
        command=sys.executable,
        args=(NASTY, *arguments),
        **fields,
    )


@contextlib.asynccontextmanager
async def servers(
    *,
    secrets: MemorySecrets | None = None,
    home: Path | None = None,
    hidden: Sequence[str] = (),
    isolation: Isolation = "auto",
    limits: ServerLimits | None = None,
    **options: Any,
) -> AsyncIterator[McpServers]:
    """The servers of one instance; when left, none is left over."""
    place = LaunchPlace(
        path=os.environ["PATH"],
        home=None if home is None else str(home),
        folder=str(REPOSITORY),
        hidden=tuple(hidden),
        isolation=isolation,
        limits=limits or ServerLimits(),
    )
    policy = CardPolicy(
        mcp_allowed=(sys.executable, "npx -y @modelcontextprotocol/", "nosuchprogram"),
        listed_hosts=frozenset({"127.0.0.1"}),
        key_vault_uri="https://kv.vault.azure.net",
    )
    launcher = Launcher(place, policy=policy, secrets=secrets or MemorySecrets())
    made = McpServers(launcher, **options)
    try:
        yield made
    finally:
        await made.close()


async def call(
    made: McpServers,
    card: McpServerCard,
    tool: str,
    *,
    seconds: float = 10.0,
    digest: str = "d1",
    **arguments: Any,
) -> ToolOutcome:
    """One call of a tool."""
    async with made.hold(card, digest) as line:
        return await line.call(tool, arguments, timeout_seconds=seconds)


def running(mark: str) -> list[int]:
    """The processes whose command line holds a text."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and mark in " ".join(process.cmdline()):
                found.append(process.pid)
    return found


async def until(holds: Callable[[], bool], *, seconds: float = 10.0, what: str = "it") -> None:
    """Wait until something holds; AssertionError when time is over."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, f"{what} did not happen within {seconds:g} s"
        await asyncio.sleep(0.02)
