"""Runs MCP servers, calls their tools and reads their secrets, for mcp. Entry points:
`ToolServers`, `ServerCards`, `Secrets`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from aos.domain.cards.agent_card import ToolGrant
from aos.domain.cards.server_card import McpServerCard, SecretReference
from aos.domain.tools.questions import CallResume
from aos.domain.tools.tool import ToolOutcome, ToolSchema

ServerChange: TypeAlias = Literal["tools", "started", "failed", "stopped", "died"]
ServerWatcher: TypeAlias = Callable[[str, ServerChange, str], None]
"""Takes the server's id, the kind of change, and the details: the reason of a failure, or
nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveServer:
    """An MCP server in the current catalog: the card that serves, and its digest."""

    server_id: str
    digest: str
    card: McpServerCard


class ServerCards(Protocol):
    """The published catalog, for tools."""

    async def live_server(self, server_id: str) -> LiveServer:
        """Return the server. Raises Refused `server_not_found`."""
        ...

    async def live_servers(self, *, at_least: int = 0) -> list[LiveServer]:
        """List every server, also disabled ones; first read the catalog again if it is older than
        `at_least`."""
        ...

    async def approvals(self, server_id: str) -> tuple[ToolGrant, ...]:
        """Return which tools of the server agents may call only after a person's decision."""
        ...


class ToolConnection(Protocol):
    """A running MCP server with a place reserved for one call at a time."""

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        timeout_seconds: float,
        resume: CallResume | None = None,
    ) -> ToolOutcome:
        """Call a tool, or go on with a call, and wait for its outcome: `ok`, `error` or
        `outcome_unknown`.

        The last means that the server did not answer in time or ended. None of these raises. An
        outcome with a pause means that the call goes on later: after answers, or as a task.
        """
        ...

    async def follow_task(
        self, task_id: str, *, timeout_seconds: float, resume: CallResume | None = None
    ) -> ToolOutcome:
        """Ask for the task that a call has become, after it was told the answers of `resume`.

        The outcome has a pause while the task works.
        """
        ...

    async def cancel_task(self, task_id: str, *, timeout_seconds: float) -> None:
        """Ask the server to cancel a task. It may have ended, or be unknown."""
        ...


class ToolServers(Protocol):
    """The MCP servers that run in this process or are reached by URL."""

    def watch(self, watcher: ServerWatcher) -> None:
        """Report servers whose tools changed, that started, failed to start, died, or became
        idle."""
        ...

    def hold(self, card: McpServerCard, digest: str) -> AbstractAsyncContextManager[ToolConnection]:
        """Return the server with a place among its concurrent calls; start it if it does not run.

        Entering raises ServerFailed if it cannot be started or reached, and TransientError if no
        place becomes free in time. In both cases nothing was called.
        """
        ...

    async def list_tools(self, card: McpServerCard, digest: str) -> list[ToolSchema]:
        """List the tools that the server has now. Raises like entering `hold`."""
        ...

    async def keep_only(self, serving: Mapping[str, str]) -> None:
        """Stop every server whose card is not among these (server id → card digest)."""
        ...

    async def close(self) -> None:
        """Stop every server."""
        ...


class Secrets(Protocol):
    """The values of secret references."""

    async def resolve(self, reference: SecretReference) -> str:
        """Return the current value.

        Raises ConfigurationError with the rule that the reference breaks, or with the place where
        the secret is missing, and TransientError if the vault does not answer.
        """
        ...
