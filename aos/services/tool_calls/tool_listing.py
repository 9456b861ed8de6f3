"""Keeps the state and the tools of MCP servers in `aostools`. Entry point: `ToolListing.follow`.

Mcp writes a row after a publication of the catalog, when a server says that its tools have changed,
and when a server starts, stops or dies. It lists a server again only when something differs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from aos.domain.tools.endpoint_rules import DESCRIPTION_CHARACTERS, RULES_VERSION, fit_tool
from aos.domain.tools.tool import DISABLED, ServerState, ServerTools, ToolSchema
from aos.errors import AosError, Refused, ServerFailed, TransientError
from aos.ports.servers import LiveServer, ServerCards, ToolServers
from aos.ports.system import Clock
from aos.ports.telemetry import Telemetry
from aos.ports.tools import ToolCatalog

AT_ONCE = 4
FOLLOW_SECONDS = 240.0
STARTING_FOR = timedelta(seconds=180)
"""How long a row may say `starting` before another instance lists the server."""
FIRST_RETRY = timedelta(seconds=30)
LONGEST_RETRY = timedelta(minutes=15)
RELIST = timedelta(minutes=15)
"""How old the list of a server with a URL may become. It cannot tell of changes: AOS holds no
request open for them."""
QUIET_SECONDS = 0.25
"""A server often sends several notifications of one change."""
MAX_ERROR = 4_000


class ToolListing:
    """Writes the rows of `aostools`."""

    def __init__(
        self,
        *,
        cards: ServerCards,
        catalog: ToolCatalog,
        servers: ToolServers,
        clock: Clock,
        telemetry: Telemetry,
        instance: str,
        max_description: int = DESCRIPTION_CHARACTERS,
    ) -> None:
        self._cards = cards
        self._catalog = catalog
        self._servers = servers
        self._clock = clock
        self._telemetry = telemetry
        self._instance = instance
        self._max_description = max_description
        self._offer_rules = f"{RULES_VERSION}:{max_description}"
        self._failures: dict[str, int] = {}
        self._notes: dict[str, asyncio.Task[None]] = {}
        self._listed: dict[str, datetime] = {}

    async def follow(self, *, at_least: int = 0) -> None:
        """List the tools of every server whose card is new, whose retry after a failure is due, or
        whose list is old.

        Raises TransientError when storage is away; the rows written before stay.
        """
        live = await self._cards.live_servers(at_least=at_least)
        seen = {tools.server_id: tools for tools in await self._catalog.list_servers()}
        await self._servers.keep_only({s.server_id: s.digest for s in live if s.card.enabled})
        for gone in seen.keys() - {server.server_id for server in live}:
            await self._catalog.drop(gone)
        places = asyncio.Semaphore(AT_ONCE)

        async def list_one(server: LiveServer) -> None:
            async with places:
                await self._relist(server, seen.get(server.server_id))

        async def list_old(server: LiveServer) -> None:
            async with places:
                await self._list(server, seen[server.server_id])

        with contextlib.suppress(TimeoutError):  # the next call continues
            async with asyncio.timeout(FOLLOW_SECONDS), asyncio.TaskGroup() as group:
                for server in live:
                    known = seen.get(server.server_id)
                    if self._is_due(server, known):
                        group.create_task(_ignore_outage(list_one(server)))
                    elif known is not None and self._is_old(server, known):
                        group.create_task(_ignore_outage(list_old(server)))

    async def list_again(self, server_id: str) -> None:
        """List the tools of a running server again."""
        seen = await self._catalog.find(server_id)
        with contextlib.suppress(Refused):
            live = await self._cards.live_server(server_id)
            if live.card.enabled and seen is not None and seen.state != "starting":
                await self._list(live, seen)

    def note(self, server_id: str, change: str, reason: str = "") -> None:
        """Note that a server changed: `tools`, `started`, `stopped`, `died`, `failed`.

        Returns at once; the row is written in the background.
        """
        running = self._notes.get(server_id)
        if change == "tools" and running is not None and not running.done():
            return
        self._notes[server_id] = asyncio.create_task(
            self._write_note(server_id, change, reason, running)
        )

    async def wait_for_notes(self) -> None:
        """Wait until every noted change is written."""
        while tasks := [task for task in self._notes.values() if not task.done()]:
            await asyncio.wait(tasks)

    async def _write_note(
        self, server_id: str, change: str, reason: str, before: asyncio.Task[None] | None
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        try:
            if change == "tools":
                await self._clock.sleep(QUIET_SECONDS)
                await self.list_again(server_id)
            else:
                await self._write_state(server_id, change, reason)
            if change == "started":
                await self._list_if_old(server_id)
        except AosError as error:
            self._telemetry.log(
                "mcp_server_not_noted", level="warning", server=server_id, reason=str(error)
            )

    async def _list_if_old(self, server_id: str) -> None:
        """List a server that was idle again, if its list has become old meanwhile."""
        seen = await self._catalog.find(server_id)
        with contextlib.suppress(Refused):
            live = await self._cards.live_server(server_id)
            if seen is not None and live.card.enabled and self._is_old(live, seen):
                await self._list(live, seen)

    async def _write_state(self, server_id: str, change: str, reason: str) -> None:
        seen = await self._catalog.find(server_id)
        if seen is None or seen.state == "starting" or seen.listed_at is None:
            return  # `follow` writes this row
        match change:
            case "started":
                now = replace(seen, state="ready", error=None)
            case "stopped":
                now = replace(seen, state="stopped", error=None)
            case _:
                state: ServerState = "failed" if change == "failed" else "stopped"
                now = replace(seen, state=state, error=reason[:MAX_ERROR])
        if now != seen:
            at = self._clock.now()
            await self._catalog.put(replace(now, instance=self._instance, seen_at=at))

    def _is_due(self, server: LiveServer, seen: ServerTools | None) -> bool:
        if seen is None or seen.card_digest != server.digest:
            return True
        now = self._clock.now()
        age = LONGEST_RETRY if seen.seen_at is None else now - seen.seen_at
        match seen.state:
            case "starting":
                return age > STARTING_FOR
            case "failed":
                failures = self._failures.get(server.server_id, 0)
                return age >= min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** max(0, failures - 1))
            case _:
                return seen.offer_rules != self._offer_rules

    def _is_old(self, server: LiveServer, seen: ServerTools) -> bool:
        """Whether a running server that cannot tell of changes was listed long ago."""
        if server.card.url is None or seen.state != "ready" or seen.listed_at is None:
            return False
        last = max(seen.listed_at, self._listed.get(server.server_id, seen.listed_at))
        return self._clock.now() - last >= RELIST

    async def _relist(self, server: LiveServer, seen: ServerTools | None) -> None:
        if not server.card.enabled:
            await self._put(server, state="stopped", error=DISABLED, tools=())
            return
        if seen is not None and seen.card_digest != server.digest:
            seen = None  # another card listed these tools
        await self._put(server, state="starting", before=seen)
        await self._list(server, seen)

    async def _list(self, server: LiveServer, seen: ServerTools | None) -> None:
        """List the server's tools and write its row, with the tools or with the error."""
        started = self._clock.monotonic()
        try:
            listed = await self._servers.list_tools(server.card, server.digest)
        except (ServerFailed, TransientError) as error:
            self._failures[server.server_id] = self._failures.get(server.server_id, 0) + 1
            await self._put(
                server,
                state="failed",
                error=str(error)[:MAX_ERROR],
                before=seen,
            )
            self._telemetry.log(
                "mcp_server_failed",
                level="warning",
                server=server.server_id,
                reason=_describe_briefly(error),
            )
            return
        self._failures.pop(server.server_id, None)
        self._listed[server.server_id] = self._clock.now()
        tools = tuple(self._fit(tool) for tool in listed if server.card.can_offer(tool.name))
        as_before = ("ready", tools, self._offer_rules)
        if seen is not None and (seen.state, seen.tools, seen.offer_rules) == as_before:
            return
        await self._put(server, state="ready", tools=tools)
        self._telemetry.log(
            "mcp_server_ready",
            server=server.server_id,
            tools=len(tools),
            seconds=round(self._clock.monotonic() - started, 3),
        )
        for tool in tools:
            if tool.offered is not None and tool.offered.left_out is not None:
                self._telemetry.log(
                    "mcp_tool_left_out",
                    level="warning",
                    server=server.server_id,
                    tool=tool.name,
                    reason=tool.offered.left_out,
                )

    def _fit(self, tool: ToolSchema) -> ToolSchema:
        """The tool with what models are told of it, where they would refuse what it says.

        A tool that cannot even be called says so already.
        """
        if tool.offered is not None:
            return tool
        fitted = fit_tool(
            tool.description, tool.input_schema, max_description=self._max_description
        )
        same = (fitted.description, fitted.parameters) == (tool.description, tool.input_schema)
        return replace(tool, offered=None if same and not fitted.left_out else fitted)

    async def _put(
        self,
        server: LiveServer,
        *,
        state: ServerState,
        error: str | None = None,
        tools: Sequence[ToolSchema] | None = None,
        before: ServerTools | None = None,
    ) -> None:
        """Write the row: with the tools just listed, or those of the row before."""
        now = self._clock.now()
        if tools is None:
            tools = () if before is None else before.tools
            listed_at = None if before is None else before.listed_at
            offer_rules = "" if before is None else before.offer_rules
        else:
            listed_at, offer_rules = now, self._offer_rules
        await self._catalog.put(
            ServerTools(
                server_id=server.server_id,
                state=state,
                error=error,
                tools=tuple(tools),
                listed_at=listed_at,
                seen_at=now,
                instance=self._instance,
                card_digest=server.digest,
                offer_rules=offer_rules,
            )
        )


def _describe_briefly(error: ServerFailed | TransientError) -> str:
    """The error without the server's output; `aostools` holds that, for admins."""
    return error.brief if isinstance(error, ServerFailed) else str(error)


async def _ignore_outage(listing: Awaitable[None]) -> None:
    """Let one server's storage error not stop the others; the next call of `follow` retries."""
    with contextlib.suppress(TransientError):
        await listing
