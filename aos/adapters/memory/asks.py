"""Keeps what people are asked about tool calls, in memory. Entry points: `MemoryDecisions`,
`MemoryQuestions`."""

from __future__ import annotations

from typing import Generic

from aos.adapters.memory.interception import Interceptor, pass_through
from aos.adapters.memory.tables import MemoryTables
from aos.domain.tools.questions import QuestionAnswer, QuestionRequest
from aos.domain.tools.tool import ApprovalRequest, Decision
from aos.domain.wire_time import to_wire_time
from aos.errors import StaleWrite
from aos.ports.asks import A, Asked, R
from aos.ports.paging import Page


class MemoryAsks(Generic[R, A]):
    """What waits for a person, and the answers, one for each request."""

    def __init__(
        self,
        tables: MemoryTables,
        *,
        asked: dict[tuple[str, str], R],
        waiting: set[tuple[str, str]],
        answers: dict[tuple[str, str], A],
        name: str,
        intercept: Interceptor,
    ) -> None:
        """`name` begins the names of the operations that are intercepted."""
        self._tables = tables
        self._asked = asked
        self._waiting = waiting
        self._answers = answers
        self._name = name
        self._intercept = intercept

    async def ask(self, request: R) -> None:
        """Add a request to those that wait. Adding it again changes nothing."""

        def act() -> None:
            key = _make_key(request)
            if key not in self._asked:
                self._asked[key] = request
                self._waiting.add(key)
                self._tables.tell_watchers(f"{self._name}.ask", request.run_id)

        await self._intercept(f"{self._name}.ask", request.run_id, act)

    async def find(self, run_id: str, ask_id: str) -> Asked[R, A] | None:
        """Return what was asked and its answer, or None if nothing was asked."""

        def act() -> Asked[R, A] | None:
            key = (run_id, ask_id)
            asked = self._asked.get(key)
            return None if asked is None else Asked(request=asked, answer=self._answers.get(key))

        return await self._intercept(f"{self._name}.find", run_id, act)

    async def answer(self, request: R, answer: A) -> None:
        """Insert the answer. Raises StaleWrite if the request has one."""

        def act() -> None:
            key = _make_key(request)
            if key in self._answers:
                raise StaleWrite(f"{request.ask_id!r} of run {request.run_id!r} has an answer")
            self._answers[key] = answer
            self._tables.tell_watchers(f"{self._name}.answer", request.run_id)

        await self._intercept(f"{self._name}.answer", request.run_id, act)

    async def list_waiting(self, *, owner: str | None, after: str | None, limit: int) -> Page[R]:
        """List the open requests of an owner, or of all owners (None), oldest first."""

        def act() -> Page[R]:
            found = [self._asked[key] for key in self._waiting]
            mine = {_make_token(asked): asked for asked in found if owner in (None, asked.owner)}
            rows = [(token, mine[token]) for token in sorted(mine) if token > (after or "")]
            return Page(
                items=[asked for _, asked in rows[:limit]],
                next=rows[limit - 1][0] if len(rows) > limit else None,
            )

        return await self._intercept(f"{self._name}.list_waiting", owner or "", act)

    async def close(self, request: R) -> None:
        """Remove a request from the list. Removing it again changes nothing."""

        def act() -> None:
            self._waiting.discard(_make_key(request))

        await self._intercept(f"{self._name}.close", request.run_id, act)


class MemoryDecisions(MemoryAsks[ApprovalRequest, Decision]):
    """The tool calls that wait for a decision, and the decisions. Implements `Decisions`."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        super().__init__(
            tables,
            asked=tables.approvals,
            waiting=tables.open_approvals,
            answers=tables.decisions,
            name="decisions",
            intercept=intercept,
        )


class MemoryQuestions(MemoryAsks[QuestionRequest, QuestionAnswer]):
    """The questions of tools, and the answers. Implements `Questions`."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        super().__init__(
            tables,
            asked=tables.questions,
            waiting=tables.open_questions,
            answers=tables.answers,
            name="questions",
            intercept=intercept,
        )


def _make_key(request: R) -> tuple[str, str]:
    return (request.run_id, request.ask_id)


def _make_token(asked: R) -> str:
    return f"{to_wire_time(asked.requested_at)}|{asked.run_id}|{asked.ask_id}"
