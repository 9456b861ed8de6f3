"""What does mcp need of MCP servers: a running one to call, its tools, its secrets?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from aos.domain.cards.agent_card import ToolGrant
from aos.domain.cards.server_card import McpServerCard, SecretReference
from aos.domain.tools.tool import ToolOutcome, ToolSchema

ServerChange: TypeAlias = Literal["tools", "started", "failed", "stopped", "died"]
ServerWatcher: TypeAlias = Callable[[str, ServerChange, str], None]
"""Takes the server's id, what changed, and the details: the reason of a failure, or nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveServer:
    """An MCP server as the catalog has it now: the card that serves, and its digest."""

    server_id: str
    digest: str
    card: McpServerCard


class ServerCards(Protocol):
    """The published catalog, as far as tools need it."""

    async def live_server(self, server_id: str) -> LiveServer:
        """The server; raises Refused `server_not_found`."""
        ...

    async def live_servers(self, *, at_least: int = 0) -> list[LiveServer]:
        """Every server, disabled ones too; an older catalog than `at_least` is read again first."""
        ...

    async def approvals(self, server_id: str) -> tuple[ToolGrant, ...]:
        """What agents that serve may call of the server only after a person's decision."""
        ...


class ToolConnection(Protocol):
    """A running MCP server, with a place kept for one call at a time."""

    async def call(
        self, tool: str, arguments: Mapping[str, Any], *, timeout_seconds: float
    ) -> ToolOutcome:
        """Call a tool and wait for what it comes to: `ok`, `error`, or `outcome_unknown` where
        the server did not answer in time or ended meanwhile. Nothing is raised for those."""
        ...


class ToolServers(Protocol):
    """The MCP servers that run in this process, or are reached by URL."""

    def watch(self, watcher: ServerWatcher) -> None:
        """Tell of servers whose tools changed, that started, did not, died, or were idle."""
        ...

    def hold(self, card: McpServerCard, digest: str) -> AbstractAsyncContextManager[ToolConnection]:
        """The server, started when it does not run, with a place among its concurrent calls.

        Entering raises ServerFailed when it cannot be started or reached, and TransientError when
        no place becomes free in time: nothing was called then.
        """
        ...

    async def list_tools(self, card: McpServerCard, digest: str) -> list[ToolSchema]:
        """The tools that the server lists now; raises as entering `hold` does."""
        ...

    async def keep_only(self, serving: Mapping[str, str]) -> None:
        """Stop every server whose card is not among these (server id → card digest)."""
        ...

    async def close(self) -> None:
        """Stop every server."""
        ...


class Secrets(Protocol):
    """Where the values of secret references come from."""

    async def resolve(self, reference: SecretReference) -> str:
        """The value now. Raises ConfigurationError that says which rule the reference breaks or
        where the secret is missing, TransientError when the vault is away."""
        ...
