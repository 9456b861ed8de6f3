"""Keeps tool calls, listed tools and MCP servers in memory. Entry points: `MemoryToolLedger`,
`MemoryToolCatalog`, `MemoryToolServers`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from aos.adapters.memory.interception import Interceptor, pass_through
from aos.adapters.memory.tables import MemoryTables
from aos.domain.cards.server_card import McpServerCard, SecretReference
from aos.domain.tools.questions import CallResume
from aos.domain.tools.tool import ServerTools, ToolCallRow, ToolOutcome, ToolSchema
from aos.errors import ConfigurationError, ServerFailed, StaleWrite
from aos.ports.servers import ServerWatcher

MemoryTool: TypeAlias = Callable[[Mapping[str, Any]], ToolOutcome]
MemoryContinuation: TypeAlias = Callable[[Mapping[str, Any], CallResume], ToolOutcome]


class MemoryToolCatalog:
    """The servers as they were last listed."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        self._tables = tables
        self._intercept = intercept

    async def list_servers(self) -> list[ServerTools]:
        """Return all servers, ordered by id."""
        rows = self._tables.tools
        return await self._intercept(
            "tools.list_servers", "", lambda: [rows[k] for k in sorted(rows)]
        )

    async def find(self, server_id: str) -> ServerTools | None:
        """Return one server, or None."""
        return await self._intercept(
            "tools.find", server_id, lambda: self._tables.tools.get(server_id)
        )

    async def put(self, tools: ServerTools) -> None:
        """Write what was listed."""

        def act() -> None:
            self._tables.tools[tools.server_id] = tools
            self._tables.tell_watchers("tools.put", tools.server_id)

        await self._intercept("tools.put", tools.server_id, act)

    async def drop(self, server_id: str) -> None:
        """Remove a server."""

        def act() -> None:
            self._tables.tools.pop(server_id, None)
            self._tables.tell_watchers("tools.drop", server_id)

        await self._intercept("tools.drop", server_id, act)


class MemoryToolLedger:
    """The tool calls, each with one result."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        self._tables = tables
        self._intercept = intercept

    async def find(self, run_id: str, tool_call_id: str) -> ToolCallRow | None:
        """Return the row, or None."""
        key = (run_id, tool_call_id)
        return await self._intercept(
            "tool_calls.find", run_id, lambda: self._tables.tool_calls.get(key)
        )

    async def start(self, row: ToolCallRow) -> ToolCallRow:
        """Insert the row, or update it at its ETag. Raises StaleWrite if another row exists."""

        def act() -> ToolCallRow:
            return self._write(replace(row, result=None), "tool_calls.start")

        return await self._intercept("tool_calls.start", row.run_id, act)

    async def finish(self, row: ToolCallRow, outcome: ToolOutcome) -> ToolOutcome:
        """Write the result unless the call has one; return the call's result. Raises StaleWrite if
        another began a call that was never begun."""

        def act() -> ToolOutcome:
            found = self._tables.tool_calls.get((row.run_id, row.tool_call_id))
            if found is not None and found.result is not None:
                return found.result
            if found is not None and row.etag is None:
                raise StaleWrite(f"tool call {row.tool_call_id!r} of run {row.run_id!r} was begun")
            etag = None if found is None else found.etag
            self._write(replace(found or row, result=outcome, etag=etag), "tool_calls.finish")
            return outcome

        return await self._intercept("tool_calls.finish", row.run_id, act)

    def _write(self, row: ToolCallRow, operation: str) -> ToolCallRow:
        key = (row.run_id, row.tool_call_id)
        found = self._tables.tool_calls.get(key)
        if (None if found is None else found.etag) != row.etag:
            raise StaleWrite(f"tool call {row.tool_call_id!r} of run {row.run_id!r} has changed")
        written = replace(row, etag=self._tables.new_etag())
        self._tables.tool_calls[key] = written
        self._tables.tell_watchers(operation, row.run_id)
        return written


@dataclass(frozen=True, slots=True, kw_only=True)
class CalledTool:
    """A call that reached a server. Tests count these."""

    server_id: str
    tool: str
    arguments: Mapping[str, Any]
    resume: CallResume | None = None


@dataclass(slots=True)
class MemoryServers:
    """The MCP servers and their tools, shared by any number of mcp instances.

    A tool whose outcome has a pause asks a person or begins a task; `continuations` go on with its
    calls, `tasks` hold what tasks have come to.
    """

    tools: dict[str, dict[str, MemoryTool]] = field(default_factory=dict)
    schemas: dict[str, list[ToolSchema]] = field(default_factory=dict)
    calls: list[CalledTool] = field(default_factory=list)
    continuations: dict[tuple[str, str], MemoryContinuation] = field(default_factory=dict)
    tasks: dict[str, ToolOutcome] = field(default_factory=dict)
    cancelled_tasks: list[str] = field(default_factory=list)
    failing: dict[str, str] = field(default_factory=dict)

    def add(self, server_id: str, schema: ToolSchema, tool: MemoryTool) -> None:
        """Add a tool to a server."""
        self.tools.setdefault(server_id, {})[schema.name] = tool
        self.schemas.setdefault(server_id, []).append(schema)


class MemoryToolServers:
    """The servers of one instance. Implements `ToolServers`; its calls reach `servers`."""

    def __init__(self, servers: MemoryServers, *, intercept: Interceptor = pass_through) -> None:
        self._servers = servers
        self._intercept = intercept

    def watch(self, watcher: ServerWatcher) -> None:
        """Nothing runs, so nothing changes by itself."""

    @contextlib.asynccontextmanager
    async def hold(self, card: McpServerCard, digest: str) -> AsyncIterator[_Line]:
        """Return the server, or raise if it is set to fail."""
        await self._intercept("servers.hold", card.server_id, lambda: self._check(card.server_id))
        yield _Line(card.server_id, self._servers, self._intercept)

    async def list_tools(self, card: McpServerCard, digest: str) -> list[ToolSchema]:
        """List its tools."""

        def act() -> list[ToolSchema]:
            self._check(card.server_id)
            return list(self._servers.schemas.get(card.server_id, ()))

        return await self._intercept("servers.list_tools", card.server_id, act)

    async def keep_only(self, serving: Mapping[str, str]) -> None:
        """Do nothing, because no process runs."""

    async def close(self) -> None:
        """Do nothing, because no process runs."""

    def _check(self, server_id: str) -> None:
        if server_id in self._servers.failing:
            raise ServerFailed(f"the MCP server {server_id!r} {self._servers.failing[server_id]}")


class _Line:
    def __init__(self, server_id: str, servers: MemoryServers, intercept: Interceptor) -> None:
        self._server_id = server_id
        self._servers = servers
        self._intercept = intercept

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        timeout_seconds: float,
        resume: CallResume | None = None,
    ) -> ToolOutcome:
        """Call the tool or go on with a call: its side effect and its answer happen at once."""

        def act() -> ToolOutcome:
            called = CalledTool(
                server_id=self._server_id, tool=tool, arguments=arguments, resume=resume
            )
            self._servers.calls.append(called)
            if resume is not None:
                return self._servers.continuations[(self._server_id, tool)](arguments, resume)
            does = self._servers.tools.get(self._server_id, {}).get(tool)
            if does is None:
                return ToolOutcome(outcome="error", content=f"the tool {tool!r} does not exist")
            return does(arguments)

        return await self._intercept("servers.call", f"{self._server_id}/{tool}", act)

    async def follow_task(
        self, task_id: str, *, timeout_seconds: float, resume: CallResume | None = None
    ) -> ToolOutcome:
        """Return what the task has come to."""

        def act() -> ToolOutcome:
            unknown = ToolOutcome(outcome="outcome_unknown", content="there is no such task")
            return self._servers.tasks.get(task_id, unknown)

        return await self._intercept("servers.follow_task", task_id, act)

    async def cancel_task(self, task_id: str, *, timeout_seconds: float) -> None:
        """Note that the task was cancelled."""
        await self._intercept(
            "servers.cancel_task", task_id, lambda: self._servers.cancelled_tasks.append(task_id)
        )


class MemorySecrets:
    """Secrets by name. Implements `Secrets`."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self.values = dict(values or {})

    async def resolve(self, reference: SecretReference) -> str:
        """Return the value. Raises ConfigurationError if the name is unknown."""
        if reference.name not in self.values:
            raise ConfigurationError(f"the secret {reference.name!r} does not exist")
        return self.values[reference.name]
