"""What do runs need of tools: where they are listed, called, recorded and decided about?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aos.domain.mcp_server import McpServerCard
from aos.domain.tool import (
    ApprovalRequest,
    Decision,
    ServerTools,
    ToolCallRow,
    ToolOutcome,
    ToolSchema,
)


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

    async def start(self, row: ToolCallRow) -> None:
        """Insert the row once; StaleWrite when it is there."""
        ...

    async def restart(self, row: ToolCallRow) -> None:
        """Hold a call that is made again until the row's new `until`; StaleWrite when the row is
        not at its `etag` any more."""
        ...

    async def finish(self, run_id: str, tool_call_id: str, outcome: ToolOutcome) -> ToolOutcome:
        """Insert the result once; the one that stands."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPage:
    """One page of what waits for a decision, oldest first; `next` resumes after it."""

    items: list[ApprovalRequest]
    next: str | None = None


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

    async def waiting(self, *, owner: str | None, after: str | None, limit: int) -> ApprovalPage:
        """Those that nobody has closed, of an owner or (None) of everybody."""
        ...

    async def close(self, approval: ApprovalRequest) -> None:
        """Take a call off the list, decided or not needed any more; again changes nothing."""
        ...


class ToolServers(Protocol):
    """The MCP servers that run in this process, or are reached by URL."""

    async def call(
        self,
        card: McpServerCard,
        digest: str,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        timeout_seconds: float,
    ) -> ToolOutcome:
        """Call a tool, starting the server when it does not run.

        Raises TransientError when the server is not to be had now: nothing was called then.
        """
        ...

    async def list_tools(self, card: McpServerCard, digest: str) -> list[ToolSchema]:
        """The tools that the server lists now; raises TransientError as `call` does."""
        ...

    async def close(self) -> None:
        """Stop every server."""
        ...


class Secrets(Protocol):
    """Where the values of secret references come from."""

    async def resolve(self, reference: str) -> str:
        """The value; raises ConfigurationError naming the rule that the reference breaks."""
        ...
