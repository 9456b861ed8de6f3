"""mcp's services on storage, bus and servers in memory: any number of instances of one mcp."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from aos.adapters.memory import (
    ManualClock,
    MemoryBroker,
    MemoryBus,
    MemoryServers,
    MemoryTables,
    MemoryTelemetry,
    MemoryToolCatalog,
    MemoryToolLedger,
    MemoryToolServers,
    SeededIds,
)
from aos.adapters.memory.interception import Interceptor, pass_through
from aos.domain.cards.server_card import McpServerCard
from aos.domain.envelope import MCP_QUEUE, REALM_QUEUE, CallTool, ToolResult, read_command
from aos.domain.tools.tool import ServerTools, ToolOutcome, ToolSchema
from aos.errors import Refused
from aos.ports.servers import LiveServer
from aos.services.tool_calls import CallLimits, TaskCanceller, ToolCalls, ToolListing

RUN = "0f8fad5b-d9cb-469f-a165-70867728950e"
CALL = "call_0f8fad5b_0_0"


class Cards:
    """The catalog's MCP servers."""

    def __init__(self) -> None:
        self.live: dict[str, LiveServer] = {}

    def put(self, server_id: str = "books", *, digest: str = "d1", **card: Any) -> None:
        """Publish a card."""
        made = McpServerCard(server_id=server_id, **{"command": "npx", **card})
        self.live[server_id] = LiveServer(server_id=server_id, digest=digest, card=made)

    async def live_server(self, server_id: str) -> LiveServer:
        """The server."""
        if server_id not in self.live:
            raise Refused("server_not_found", f"there is no MCP server {server_id!r}")
        return self.live[server_id]

    async def live_servers(self, *, at_least: int = 0) -> list[LiveServer]:
        """Every server."""
        return [self.live[server_id] for server_id in sorted(self.live)]


class Mcp:
    """One instance of mcp; `intercept` sees each operation of its adapters first."""

    def __init__(self, world: McpWorld, *, intercept: Interceptor = pass_through) -> None:
        servers = MemoryToolServers(world.servers, intercept=intercept)
        catalog = MemoryToolCatalog(world.tables, intercept=intercept)
        bus = MemoryBus(world.broker, clock=world.clock, intercept=intercept)
        self.tasks = TaskCanceller(
            cards=world.cards,
            servers=servers,
            bus=bus,
            clock=world.clock,
            telemetry=world.telemetry,
        )
        self.calls = ToolCalls(
            ledger=MemoryToolLedger(world.tables, intercept=intercept),
            catalog=catalog,
            cards=world.cards,
            servers=servers,
            bus=bus,
            clock=world.clock,
            ids=world.ids,
            telemetry=world.telemetry,
            limits=CallLimits(timeout_seconds=60.0),
            tasks=self.tasks,
        )
        self.listing = ToolListing(
            cards=world.cards,
            catalog=catalog,
            servers=servers,
            clock=world.clock,
            telemetry=world.telemetry,
            instance="i1",
        )


class McpWorld:
    """What the instances share, and one server `books` with the tools `count` and `add`."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.ids = SeededIds(random.Random(3))
        self.telemetry = MemoryTelemetry()
        self.tables = MemoryTables()
        self.broker = MemoryBroker(clock=self.clock)
        self.servers = MemoryServers()
        self.cards = Cards()
        self.cards.put()
        self.has("count", lambda a: said("7 books"), readOnlyHint=True)
        self.has("add", lambda a: said(f"added {a.get('title')}"))
        self.mcp = Mcp(self)

    def has(
        self, tool: str, does: Callable[[Mapping[str, Any]], ToolOutcome], **annotations: Any
    ) -> None:
        """Give `books` a tool, listed."""
        self.servers.add("books", ToolSchema(name=tool, annotations=annotations), does)
        schemas = tuple(self.servers.schemas["books"])
        self.tables.tools["books"] = ServerTools(
            server_id="books",
            state="ready",
            tools=schemas,
            listed_at=self.clock.now(),
            card_digest="d1",
        )

    def command(self, tool: str = "add", *, seconds: float = 600.0, **fields: Any) -> CallTool:
        """A CallTool whose run has so many seconds left."""
        whole: dict[str, Any] = {
            "run_id": RUN,
            "conversation_id": RUN,
            "tool_call_id": CALL,
            "agent_id": "ceo",
            "server_id": "books",
            "tool": tool,
            "arguments": {"title": "Emma"},
            "deadline": self.clock.now() + timedelta(seconds=seconds),
        }
        return CallTool(**{**whole, **fields})

    @property
    def called(self) -> list[str]:
        """The tools whose calls reached a server."""
        return [call.tool for call in self.servers.calls]

    @property
    def results(self) -> list[ToolOutcome]:
        """What realm was told."""
        found = [read_command(kept.body) for kept in self.broker.messages(REALM_QUEUE)]
        return [result.result for result in found if isinstance(result, ToolResult)]

    @property
    def later(self) -> list[float]:
        """In how many seconds CallTools come back."""
        now = self.clock.now()
        kept = self.broker.messages(MCP_QUEUE)
        assert all(json.loads(message.body)["type"] == "CallTool" for message in kept)
        return [(message.visible_at - now).total_seconds() for message in kept]


def said(text: str) -> ToolOutcome:
    """A good result."""
    return ToolOutcome(outcome="ok", content=text)
