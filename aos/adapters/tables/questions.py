"""Keeps the questions of tools to people, in the table `aostoolcalls`. Entry point:
`AzureQuestions`.

Partition `run_id`: the row `<question_id>:question` is the question, `<question_id>:answer` the
answer, inserted once. Partition `questions`: the list of those that wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aos.adapters.tables.account import Table
from aos.adapters.tables.payloads import Payloads
from aos.adapters.tables.rows import pack
from aos.adapters.tables.waiting import WaitingRows, make_place
from aos.domain.codec import decode, encode
from aos.domain.tools.questions import QuestionAnswer, QuestionRequest
from aos.domain.wire_time import from_wire_time
from aos.ports.paging import Page
from aos.ports.tools import AskedQuestion

UNANSWERED = "questions"


class AzureQuestions:
    """The questions of tools, and the answers. Implements `Questions`."""

    def __init__(self, table: Table, payloads: Payloads) -> None:
        self._table = table
        self._payloads = payloads
        self._waiting = WaitingRows(
            table=table,
            payloads=payloads,
            kind=QuestionRequest,
            identify=lambda question: question.question_id,
            suffix="question",
            partition=UNANSWERED,
        )

    async def ask(self, question: QuestionRequest) -> None:
        """Add a question to those that wait. Two calls."""
        await self._waiting.ask(question)

    async def find(self, run_id: str, question_id: str) -> AskedQuestion | None:
        """Return a question and its answer. Two calls."""
        asked = await self._waiting.find(run_id, question_id)
        if asked is None:
            return None
        row = await self._table.get(run_id, f"{question_id}:answer")
        if row is None:
            return AskedQuestion(request=asked)
        told = await self._payloads.whole(asked.conversation_id, row)
        return AskedQuestion(request=asked, answer=decode(QuestionAnswer, told))

    async def answer(self, question: QuestionRequest, answer: QuestionAnswer) -> None:
        """Insert the answer. Raises StaleWrite if the question has one. One call."""
        (packed,) = pack([encode(answer)])
        await self._payloads.keep(question.conversation_id, packed.payloads)
        await self._table.insert(packed.entity(question.run_id, f"{question.question_id}:answer"))

    async def list_waiting(
        self, *, owner: str | None, after: str | None, limit: int
    ) -> Page[QuestionRequest]:
        """List the open questions, oldest first. One call."""
        return await self._waiting.list_waiting(owner=owner, after=after, limit=limit)

    async def close(self, question: QuestionRequest) -> None:
        """Remove a question from the list. One call."""
        await self._waiting.close(question)


def place_of_question(document: Mapping[str, Any]) -> str:
    """Return the key in the list of a question, from the document of its row."""
    asked = from_wire_time(document["requested_at"])
    assert asked is not None
    return make_place(asked, document["run_id"], document["question_id"])
