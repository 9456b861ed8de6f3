"""Keeps the questions of tools to people, in memory. Entry point: `MemoryQuestions`."""

from __future__ import annotations

from aos.adapters.memory.interception import Interceptor, pass_through
from aos.adapters.memory.tables import MemoryTables
from aos.domain.tools.questions import QuestionAnswer, QuestionRequest
from aos.domain.wire_time import to_wire_time
from aos.errors import StaleWrite
from aos.ports.paging import Page
from aos.ports.tools import AskedQuestion


class MemoryQuestions:
    """The questions of tools, and the answers, one for each question."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        self._tables = tables
        self._intercept = intercept

    async def ask(self, question: QuestionRequest) -> None:
        """Add a question to those that wait. Adding it again changes nothing."""

        def act() -> None:
            key = (question.run_id, question.question_id)
            if key not in self._tables.questions:
                self._tables.questions[key] = question
                self._tables.open_questions.add(key)
                self._tables.tell_watchers("questions.ask", question.run_id)

        await self._intercept("questions.ask", question.run_id, act)

    async def find(self, run_id: str, question_id: str) -> AskedQuestion | None:
        """Return the question and its answer, or None if nothing was asked."""

        def act() -> AskedQuestion | None:
            key = (run_id, question_id)
            asked = self._tables.questions.get(key)
            if asked is None:
                return None
            return AskedQuestion(request=asked, answer=self._tables.answers.get(key))

        return await self._intercept("questions.find", run_id, act)

    async def answer(self, question: QuestionRequest, answer: QuestionAnswer) -> None:
        """Insert the answer. Raises StaleWrite if the question has one."""

        def act() -> None:
            key = (question.run_id, question.question_id)
            if key in self._tables.answers:
                raise StaleWrite(
                    f"question {question.question_id!r} of run {question.run_id!r} has an answer"
                )
            self._tables.answers[key] = answer
            self._tables.tell_watchers("questions.answer", question.run_id)

        await self._intercept("questions.answer", question.run_id, act)

    async def list_waiting(
        self, *, owner: str | None, after: str | None, limit: int
    ) -> Page[QuestionRequest]:
        """List the open questions to an owner, or to all owners (None), oldest first."""

        def act() -> Page[QuestionRequest]:
            open_ones = [self._tables.questions[key] for key in self._tables.open_questions]
            found = sorted(
                (
                    (_make_token(asked), asked)
                    for asked in open_ones
                    if owner in (None, asked.owner)
                ),
                key=lambda pair: pair[0],
            )
            rows = [(token, asked) for token, asked in found if token > (after or "")]
            return Page(
                items=[asked for _, asked in rows[:limit]],
                next=rows[limit - 1][0] if len(rows) > limit else None,
            )

        return await self._intercept("questions.list_waiting", owner or "", act)

    async def close(self, question: QuestionRequest) -> None:
        """Remove a question from the list. Removing it again changes nothing."""

        def act() -> None:
            self._tables.open_questions.discard((question.run_id, question.question_id))

        await self._intercept("questions.close", question.run_id, act)


def _make_token(asked: QuestionRequest) -> str:
    return f"{to_wire_time(asked.requested_at)}|{asked.run_id}|{asked.question_id}"
