"""Lists the questions of tools, and takes the answers of people. Entry point: `ToolQuestions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aos.domain.caller import Caller
from aos.domain.runs.asks import find_ask
from aos.domain.runs.conversation import Conversation
from aos.domain.tools.answer_rules import find_answer_fault
from aos.domain.tools.questions import AnswerAction, QuestionAnswer, QuestionRequest
from aos.errors import Refused
from aos.services.asks import AskWords, PeopleAsks


class ToolQuestions(PeopleAsks[QuestionRequest, QuestionAnswer]):
    """Main's use case: list waiting questions and take answers."""

    words = AskWords(
        request="question",
        answer="answer",
        waits_for="an answer",
        answered="answered",
        field="action",
        path="/api/questions",
        not_found="question_not_found",
        already="already_answered",
    )

    async def answer(
        self,
        run_id: str,
        question_id: str,
        action: AnswerAction,
        values: Mapping[str, Any] | None,
        *,
        caller: Caller,
        answer_id: str | None = None,
    ) -> QuestionAnswer:
        """Answer a question; of two answers at once exactly one counts.

        A repeated message has the same `answer_id`: its answer is returned, and the conversation is
        woken again. Raises Refused `run_not_found`, `question_not_found`, `already_answered` or
        `invalid_request` (the values do not fit the form), and TransientError when storage is away.
        """

        def make(asked: QuestionRequest) -> QuestionAnswer:
            return QuestionAnswer(
                action=action,
                values=_check_values(asked, action, values),
                answered_by=caller.signature,
                answered_at=self._clock.now(),
                answer_id=answer_id or self._ids.new_id(),
            )

        return await self._take(
            run_id, question_id, said=action, said_id=answer_id, make=make, caller=caller
        )

    def _find_waiting(
        self, head: Conversation | None, run_id: str, ask_id: str
    ) -> QuestionRequest | None:
        return find_ask(head, run_id, ask_id, kind=QuestionRequest)


def _check_values(
    question: QuestionRequest, action: AnswerAction, values: Mapping[str, Any] | None
) -> Mapping[str, Any] | None:
    """The values to store; None where there is no form, or it is not filled in.

    Raises Refused `invalid_request` when they do not fit the form.
    """
    if action != "accept" or question.requested_schema is None:
        return None
    filled = values or {}
    fault = find_answer_fault(filled, question.requested_schema)
    if fault is not None:
        raise Refused("invalid_request", f"{fault.path} {fault.message}", field=fault.path)
    return filled
