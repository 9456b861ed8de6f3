"""Lists and calls the tools of exposed MCP servers for outside callers. Entry point:
`ExposedTools`.

The card's allow-list, the ledger and the limits are the same as for calls of agents. Hidden are
servers whose cards do not set `expose`, tools that need a person's decision (no person is asked
here), and tools that are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from aos.domain.cards.agent_card import ToolGrant
from aos.domain.envelope import CallTool
from aos.domain.tools.tool import ToolOutcome, ToolSchema, make_tool_call_id
from aos.errors import Refused, TransientError
from aos.ports.servers import ServerCards
from aos.ports.system import Clock, Ids
from aos.ports.tools import ToolCatalog
from aos.services.tool_calls.calls import ToolCalls

PATIENCE = timedelta(seconds=200)
"""The longest time of one call: the platform ends an HTTP request after 230 s."""
OUTSIDER = "outsider"


class ExposedTools:
    """The exposed servers."""

    def __init__(
        self,
        *,
        cards: ServerCards,
        catalog: ToolCatalog,
        calls: ToolCalls,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._cards = cards
        self._catalog = catalog
        self._calls = calls
        self._clock = clock
        self._ids = ids

    async def list_tools(self, server_id: str) -> tuple[ToolSchema, ...]:
        """The tools of an exposed server.

        Raises Refused `server_not_found`, and TransientError while the tools are not listed yet.
        """
        live = await self._cards.live_server(server_id)
        if not (live.card.expose and live.card.enabled):
            raise Refused(
                "server_not_found",
                f"the MCP server {server_id!r} is not exposed; its card does not say"
                ' "expose": true',
            )
        listed = await self._catalog.find(server_id)
        if listed is None or listed.listed_at is None or listed.card_digest != live.digest:
            raise TransientError(f"the MCP server {server_id!r} has not listed its tools yet")
        guarded = await self._cards.approvals(server_id)
        return tuple(
            tool
            for tool in listed.tools
            if live.card.can_offer(tool.name)
            and not _needs_approval(tool.name, guarded)
            and (tool.offered is None or tool.offered.left_out is None)
        )

    async def call(
        self, server_id: str, tool: str, arguments: Mapping[str, Any], *, traceparent: str | None
    ) -> ToolOutcome:
        """Call a tool of an exposed server; raises as `list_tools` does."""
        if tool not in {schema.name for schema in await self.list_tools(server_id)}:
            return await self._explain_refusal(server_id, tool)
        run_id = self._ids.new_id()
        command = CallTool(
            run_id=run_id,
            conversation_id=run_id,
            tool_call_id=make_tool_call_id(run_id, turn=0, index=0),
            agent_id=OUTSIDER,
            server_id=server_id,
            tool=tool,
            arguments=arguments,
            deadline=self._clock.now() + PATIENCE,
            traceparent=traceparent,
        )
        end = await self._calls.settle(command)
        while isinstance(end, datetime):  # the call has become a task
            await self._clock.sleep(max(0.0, (end - self._clock.now()).total_seconds()))
            end = await self._calls.settle(command)
        return end

    async def _explain_refusal(self, server_id: str, tool: str) -> ToolOutcome:
        if _needs_approval(tool, await self._cards.approvals(server_id)):
            text = (
                f"the tool {tool[:200]!r} needs a person's decision, and nobody is asked here; have"
                " an agent call it"
            )
        else:
            text = f"there is no tool {tool[:200]!r} here"
        return ToolOutcome(outcome="not_called", content=text)


def _needs_approval(tool: str, guarded: tuple[ToolGrant, ...]) -> bool:
    return any(grant.tools is None or tool in grant.tools for grant in guarded)
