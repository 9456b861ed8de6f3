"""Keeps the tools, the tool calls, and what people say about them, for runs. Entry points:
`ToolCatalog`, `ToolLedger`, `Decisions`, `Questions`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aos.domain.tools.questions import QuestionAnswer, QuestionRequest
from aos.domain.tools.tool import ApprovalRequest, Decision, ServerTools, ToolCallRow, ToolOutcome
from aos.ports.paging import Page


class ToolCatalog(Protocol):
    """The MCP servers as last seen, table `aostools`. mcp writes them; main and realm read them."""

    async def list_servers(self) -> list[ServerTools]:
        """List all servers, ordered by id."""
        ...

    async def find(self, server_id: str) -> ServerTools | None:
        """Return one server, or None while mcp has not seen it."""
        ...

    async def put(self, tools: ServerTools) -> None:
        """Write the server's state over the one before."""
        ...

    async def drop(self, server_id: str) -> None:
        """Remove a server if it exists."""
        ...


class ToolLedger(Protocol):
    """The tool calls, table `aostoolcalls`: what was begun, who holds it until when, and its
    result."""

    async def find(self, run_id: str, tool_call_id: str) -> ToolCallRow | None:
        """Return the row, or None."""
        ...

    async def start(self, row: ToolCallRow) -> ToolCallRow:
        """Insert the row if its `etag` is None; else hold a repeated call until the row's new
        `until`.

        Returns the row with its new `etag`. Raises StaleWrite if another row exists.
        """
        ...

    async def finish(self, row: ToolCallRow, outcome: ToolOutcome) -> ToolOutcome:
        """Write the result of a call unless it has one; return the call's result.

        `etag` None means that the call was never begun.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedApproval:
    """What was asked about a tool call, and its decision (None: none yet)."""

    request: ApprovalRequest
    decision: Decision | None = None


class Decisions(Protocol):
    """The tool calls that wait for a person, and the decisions, table `aostoolcalls`.

    Realm asks and closes, main lists, and the first decision counts.
    """

    async def ask(self, approval: ApprovalRequest) -> None:
        """Add a call to those that wait. Adding it again changes nothing."""
        ...

    async def find(self, run_id: str, tool_call_id: str) -> AskedApproval | None:
        """Return what was asked about a call and its decision, or None if nothing was asked."""
        ...

    async def decide(self, run_id: str, tool_call_id: str, decision: Decision) -> None:
        """Insert the decision. Raises StaleWrite if the call has one.

        It may be that of an earlier attempt of the same call, so look it up.
        """
        ...

    async def list_waiting(
        self, *, owner: str | None, after: str | None, limit: int
    ) -> Page[ApprovalRequest]:
        """List the open requests of an owner, or of all owners (None), oldest first."""
        ...

    async def close(self, approval: ApprovalRequest) -> None:
        """Remove a call from the list, because it is decided or not needed any more. Removing it
        again changes nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedQuestion:
    """A tool's question, and its answer (None: none yet)."""

    request: QuestionRequest
    answer: QuestionAnswer | None = None


class Questions(Protocol):
    """The questions of tools that wait for a person, and the answers, table `aostoolcalls`.

    Realm asks and closes, main lists, and the first answer counts.
    """

    async def ask(self, question: QuestionRequest) -> None:
        """Add a question to those that wait. Adding it again changes nothing."""
        ...

    async def find(self, run_id: str, question_id: str) -> AskedQuestion | None:
        """Return the question and its answer, or None if nothing was asked."""
        ...

    async def answer(self, question: QuestionRequest, answer: QuestionAnswer) -> None:
        """Insert the answer. Raises StaleWrite if the question has one.

        It may be that of an earlier attempt of the same call, so look it up.
        """
        ...

    async def list_waiting(
        self, *, owner: str | None, after: str | None, limit: int
    ) -> Page[QuestionRequest]:
        """List the open questions to an owner, or to all owners (None), oldest first."""
        ...

    async def close(self, question: QuestionRequest) -> None:
        """Remove a question from the list, because it is answered or not needed any more. Removing
        it again changes nothing."""
        ...
