"""Decides how a run waits for the answers to a tool's questions. Entry points: `pause_call`,
`take_answer`.

The rules are pure, as in `aos.domain.runs.tool_turns`. The questions of one pause are asked one
after the other; when the last is answered, the call goes on.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from aos.domain.runs.active_run import OpenCall
from aos.domain.runs.call_commands import make_call_command
from aos.domain.runs.conversation import Conversation, Step
from aos.domain.runs.tool_turns import find_awaited, take_result, update_call
from aos.domain.tools.client_tools import read_client_result
from aos.domain.tools.questions import (
    MAX_QUESTIONS,
    QUESTION_SECONDS,
    CallPause,
    GivenAnswer,
    QuestionAnswer,
)
from aos.domain.tools.tool import ToolOutcome

QUESTION_LIMIT = timedelta(seconds=QUESTION_SECONDS)


def pause_call(
    conversation: Conversation,
    *,
    run_id: str,
    tool_call_id: str,
    round_number: int,
    outcome: ToolOutcome,
    now: datetime,
) -> Step:
    """Let a call wait for the answers to its questions, once.

    A call that asks too much ends with what it came to.
    """
    call = find_awaited(
        conversation, run_id=run_id, tool_call_id=tool_call_id, round_number=round_number
    )
    if call is None:
        return Step(conversation=conversation)
    pause, kept = outcome.pause, replace(outcome, pause=None, parts=())
    assert pause is not None  # the caller has looked
    if not pause.questions or len(call.answers) + len(pause.questions) > MAX_QUESTIONS:
        note = f"(a tool may ask at most {MAX_QUESTIONS} questions in one call)"
        kept = replace(kept, content=f"{kept.content}\n{note}")
        return take_result(
            conversation,
            run_id=run_id,
            tool_call_id=tool_call_id,
            round_number=round_number,
            result=kept,
            now=now,
        )
    paused = replace(call, pause=pause, answered=0, result=kept)
    return update_call(conversation, _ask(paused, now=now), now=now)


def take_answer(
    conversation: Conversation,
    *,
    tool_call_id: str,
    question_id: str,
    answer: QuestionAnswer,
    now: datetime,
) -> Step:
    """Apply a person's answer, or that of the time-out: ask the next question, or go on.

    After a `cancel` the other questions of the pause are not asked; their answer is `cancel` too.
    """
    active = conversation.require_active()
    call = next((c for c in active.calls if c.tool_call_id == tool_call_id), None)
    if call is None or call.pause is None or call.question_id != question_id:
        return Step(conversation=conversation)
    question = call.question
    if question is None:
        return Step(conversation=conversation)
    given = [GivenAnswer(question=question, action=answer.action, values=answer.values)]
    if answer.action == "cancel":
        rest = call.pause.questions[call.answered + 1 :]
        given += [GivenAnswer(question=other, action="cancel") for other in rest]
    told = replace(call, answers=(*call.answers, *given), answered=call.answered + len(given))
    if call.pause.kind == "client":
        result = read_client_result(answer)
        ended = replace(told, state="answered", pause=None, result=result)
        return update_call(conversation, ended, now=now)
    if told.answered < len(call.pause.questions):
        return update_call(conversation, _ask(told, now=now), now=now)
    if call.pause.kind == "replay" and _is_cancelled(told, call.pause):
        # the server has been told so already, and `result` is what it answered
        return update_call(conversation, replace(told, state="answered", pause=None), now=now)
    return _go_on(conversation, told, now=now)


def _ask(call: OpenCall, *, now: datetime) -> OpenCall:
    return replace(call, state="to_ask", asked_at=now, expires_at=now + QUESTION_LIMIT)


def _is_cancelled(call: OpenCall, pause: CallPause) -> bool:
    last = call.answers[len(call.answers) - len(pause.questions) :]
    return any(answer.action == "cancel" for answer in last)


def _go_on(conversation: Conversation, call: OpenCall, *, now: datetime) -> Step:
    """Go on with the call: its next round is a command of its own."""
    called = replace(
        call,
        state="called",
        round_number=call.round_number + 1,
        result=None,
        expires_at=None,
        called_at=None,
    )
    step = update_call(conversation, called, now=now)
    command = make_call_command(step.conversation.require_active(), called)
    return replace(step, conversation=step.conversation.add_to_outbox(command))
