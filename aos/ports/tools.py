"""What do runs need of tools: where they are listed, recorded and decided about?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aos.domain.tools.tool import ApprovalRequest, Decision, ServerTools, ToolCallRow, ToolOutcome
from aos.ports.paging import Page


class ToolCatalog(Protocol):
    """The MCP servers as last seen, table `aostools`: mcp writes, main and realm read."""

    async def servers(self) -> list[ServerTools]:
        """Every server, by id."""
        ...

    async def find(self, server_id: str) -> ServerTools | None:
        """One server, or None while mcp has not seen it."""
        ...

    async def put(self, tools: ServerTools) -> None:
        """Write what was seen, over what was there."""
        ...

    async def drop(self, server_id: str) -> None:
        """Forget a server; an absent one is no error."""
        ...


class ToolLedger(Protocol):
    """The tool calls, table `aostoolcalls`: what was begun, until when it is held, its result."""

    async def find(self, run_id: str, tool_call_id: str) -> ToolCallRow | None:
        """The row, or None."""
        ...

    async def start(self, row: ToolCallRow) -> ToolCallRow:
        """Insert the row (its `etag` is None), or hold a call that is made again until the row's
        new `until`; the row with its new `etag`. StaleWrite when another row stands."""
        ...

    async def finish(self, row: ToolCallRow, outcome: ToolOutcome) -> ToolOutcome:
        """Write the result of a call that was begun, or (`etag` None) of one that never was,
        unless one stands; the one that stands."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedApproval:
    """What was asked about a tool call, and the decision that stands (None: none yet)."""

    request: ApprovalRequest
    decision: Decision | None = None


class Decisions(Protocol):
    """What waits for a person, and what was decided, table `aostoolcalls`.

    Realm asks and closes; main lists; whoever comes first decides.
    """

    async def ask(self, approval: ApprovalRequest) -> None:
        """Enter a call among those that wait; entering it again changes nothing."""
        ...

    async def find(self, run_id: str, tool_call_id: str) -> AskedApproval | None:
        """What was asked about a call and what was decided; None when nothing was asked."""
        ...

    async def decide(self, run_id: str, tool_call_id: str, decision: Decision) -> None:
        """Insert the decision once; StaleWrite when one stands (also when an earlier try of this
        very call took effect: look it up)."""
        ...

    async def waiting(
        self, *, owner: str | None, after: str | None, limit: int
    ) -> Page[ApprovalRequest]:
        """Those that nobody has closed, of an owner or (None) of everybody, oldest first."""
        ...

    async def close(self, approval: ApprovalRequest) -> None:
        """Take a call off the list, decided or not needed any more; again changes nothing."""
        ...
