"""Lists the questions of tools, and takes the answers of people. Entry point: `ToolQuestions`.

An answer is a row that is inserted once; the first one counts. The command that follows only wakes
the conversation: realm reads the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from aos.domain.caller import Caller
from aos.domain.runs.asks import find_question
from aos.domain.runs.run import AdmittedRequest
from aos.domain.tools.answer_rules import find_answer_fault
from aos.domain.tools.questions import AnswerAction, QuestionAnswer, QuestionRequest
from aos.errors import OutcomeUnknown, Refused, StaleWrite, TransientError
from aos.ports.bus import Bus
from aos.ports.paging import Page
from aos.ports.requests import PendingStore
from aos.ports.system import Clock, Ids
from aos.ports.tools import AskedQuestion, Questions
from aos.services.runs import RunReader
from aos.services.waking import Waker


class ToolQuestions:
    """Main's use case: list waiting questions and take answers."""

    def __init__(
        self,
        *,
        questions: Questions,
        runs: RunReader,
        pending: PendingStore,
        bus: Bus,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._questions = questions
        self._runs = runs
        self._clock = clock
        self._ids = ids
        self._waker = Waker(bus=bus, pending=pending, clock=clock)

    async def list_waiting(
        self, caller: Caller, *, after: str | None, limit: int
    ) -> Page[QuestionRequest]:
        """The questions that the caller may answer, oldest first. A page may be shorter than
        `limit`.

        Removes questions from the list that were answered or whose run has ended.
        """
        page = await self._questions.list_waiting(
            owner=caller.deciding_owner, after=after, limit=limit
        )
        items = [item for item in page.items if await self._still_waits(item)]
        return Page(items=items, next=page.next)

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
        request = await self._runs.find_request(run_id, owner=caller.deciding_owner)
        asked = await self._find_asked(request, question_id)
        if asked is None:
            if await self._runs.was_deleted(request):
                # realm removes the row of an earlier try that was written after the deletion
                await self._waker.wake_to_clean(request, question_id.partition(".")[0])
            raise Refused(
                "question_not_found",
                f"no question {question_id[:80]!r} of run {run_id!r} waits for an answer; see"
                " GET /api/questions",
            )
        stands = asked.answer
        if _is_same_answer(stands, answer_id, action):
            await self._waker.wake(request, asked.request.tool_call_id)
            return stands
        if stands is not None:
            raise _already_answered(question_id, stands)
        if await self._runs.has_ended(request.conversation_id, run_id):
            # realm cleans what came after a deletion
            await self._waker.wake(request, asked.request.tool_call_id)
            raise _already_answered(question_id, stands)
        answer = QuestionAnswer(
            action=action,
            values=_check_values(asked.request, action, values),
            answered_by=caller.owner,
            answered_at=self._clock.now(),
            answer_id=answer_id or self._ids.new_id(),
        )
        await self._insert(asked.request, answer)
        woken = await self._waker.wake(request, asked.request.tool_call_id)
        if not woken and await self._runs.was_deleted(request):
            await self._waker.wake_to_clean(request, asked.request.tool_call_id)
        return answer

    async def _find_asked(self, request: AdmittedRequest, question_id: str) -> AskedQuestion | None:
        """A question and its answer; None if nothing was asked.

        The run's row and events say that it waits some milliseconds before realm writes what it
        asks, and their reader may answer at once. Then the row is written here, of the same state.
        """
        asked = await self._questions.find(request.run_id, question_id)
        if asked is not None:
            return asked
        head = await self._runs.find_head(request.conversation_id)
        question = find_question(head, request.run_id, question_id)
        if question is not None:
            await self._questions.ask(question)
        return await self._questions.find(request.run_id, question_id)

    async def find_answer(self, run_id: str, question_id: str) -> QuestionAnswer | None:
        """The answer to a question, or None."""
        asked = await self._questions.find(run_id, question_id)
        return None if asked is None else asked.answer

    async def _insert(self, question: QuestionRequest, answer: QuestionAnswer) -> None:
        try:
            await self._questions.answer(question, answer)
        except (StaleWrite, OutcomeUnknown) as error:
            asked = await self._questions.find(question.run_id, question.question_id)
            stands = None if asked is None else asked.answer
            if stands is None:
                raise TransientError(
                    "storage did not say whether the answer was stored; send it again"
                ) from error
            if not _is_same_answer(stands, answer.answer_id, answer.action):
                raise _already_answered(question.question_id, stands) from error

    async def _still_waits(self, item: QuestionRequest) -> bool:
        asked = await self._questions.find(item.run_id, item.question_id)
        unanswered = asked is not None and asked.answer is None
        if unanswered and not await self._runs.has_ended(item.conversation_id, item.run_id):
            return True
        await self._questions.close(item)
        return False


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


def _is_same_answer(
    stands: QuestionAnswer | None, answer_id: str | None, action: AnswerAction
) -> TypeGuard[QuestionAnswer]:
    """True when the stored answer is this one."""
    return stands is not None and (stands.answer_id, stands.action) == (answer_id, action)


def _already_answered(question_id: str, stands: QuestionAnswer | None) -> Refused:
    if stands is None:
        return Refused(
            "already_answered", f"the run of question {question_id!r} has ended; nothing waits"
        )
    return Refused(
        "already_answered",
        f"question {question_id!r} was answered: {stands.action}, by {stands.answered_by!r}",
        action=stands.action,
    )
