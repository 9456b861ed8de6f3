"""How does a conversation move on? Pure rules: state and input in, the next step out.

Each rule returns a `Step`: the new state with its outbox, and the message and run rows that belong
to it; the execution service saves it in one transaction and then sends the outbox
(docs/ARCHITECTURE.md, "The road of a request"). A rule given something that the state knows
already returns the same state: commands are idempotent by state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from aos.domain.envelope import CancelRun, ContinueRun
from aos.domain.runs.active_run import ActiveRun
from aos.domain.runs.conversation import CardView, Conversation, Message, Step
from aos.domain.runs.ending import active_run, end_active, end_waiting
from aos.domain.runs.run import AdmittedRequest, Run, RunStatus, Usage
from aos.domain.tools.tool import MessageCall
from aos.errors import ErrorInfo

MAX_QUEUED_RUNS = 32
START_LIMIT = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """The next thing a conversation owes, and what it is about.

    `start`: make the first queued run active; `expire`: end `request`, which waited too long;
    `turn`: ask the model; `time_out`: the active run's clock or wall time is spent; `wait`:
    nothing before `until` (a ContinueRun is scheduled for it); `tools`: nothing before a result or
    a decision comes; `nothing`.
    """

    what: Literal["start", "expire", "turn", "time_out", "wait", "tools", "nothing"]
    request: AdmittedRequest | None = None
    until: datetime | None = None


def admit(
    conversation: Conversation | None, request: AdmittedRequest, *, known: bool, now: datetime
) -> Step:
    """A StartRun: queue the run, unless state knows it (`known`: its run row exists).

    Of two that raced for one conversation id the loser's run ends as failed here, without
    touching the history.
    """
    state = conversation or Conversation.begun_by(request, now=now)
    if known or state.knows(request.run_id):
        return Step(conversation=state)
    if state.owner != request.owner and not request.as_admin:
        return _refuse(state, request, code="conversation_not_found", now=now)
    if state.agent_id != request.agent_id:
        return _refuse(state, request, code="agent_mismatch", now=now)
    if len(state.queued) >= MAX_QUEUED_RUNS + (state.active is None):
        return _refuse(state, request, code="conversation_full", now=now)
    queued = replace(state, queued=(*state.queued, request))
    return Step(conversation=queued, runs=(Run.queued(request),))


def cancel(
    conversation: Conversation | None,
    command: CancelRun,
    *,
    known: bool,
    now: datetime,
) -> Step:
    """A CancelRun: end the run as `cancelled`, also when it comes before its StartRun."""
    request, error = command.request, cancelled_because(command.reason)
    state = conversation or Conversation.begun_by(request, now=now)
    if state.active is not None and state.active.request.run_id == request.run_id:
        return end_active(state, RunStatus.CANCELLED, error=error, now=now)
    if known and not state.knows(request.run_id):
        return Step(conversation=state)
    return end_waiting(state, request, RunStatus.CANCELLED, error=error, now=now)


def cancelled_because(reason: str | None) -> ErrorInfo | None:
    """The error of a run that was cancelled by us; None when a caller wanted it."""
    if reason is None:
        return None
    return ErrorInfo(code=reason, message=_REASONS.get(reason, "AOS cancelled the run"))


_REASONS = {"parent_ended": "the run that this one was delegated by has ended"}


def woken(conversation: Conversation, command: ContinueRun) -> Step:
    """A ContinueRun: the one that a wait was scheduled with ends it.

    The broker's clock has decided that; ours may be behind, and then a look at it would leave
    nobody to wake the conversation.
    """
    active = conversation.active
    if command.due is not None and command.due == conversation.retry_at:
        conversation = replace(conversation, retry_at=None)
    if command.due is not None and active is not None and command.due == active.wake_at:
        conversation = replace(conversation, active=replace(active, wake_at=None))
    return Step(conversation=conversation)


def owed(conversation: Conversation, *, now: datetime) -> Owed:
    """What this conversation owes next."""
    for request in conversation.queued:
        if now - request.admitted_at >= START_LIMIT:
            return Owed(what="expire", request=request)
    active = conversation.active
    if active is None:
        return Owed(what="start") if conversation.queued else Owed(what="nothing")
    if _spent(active, now=now):
        return Owed(what="time_out")
    if active.calls:
        return Owed(what="tools")
    if conversation.retry_at is not None and now < conversation.retry_at:
        return Owed(what="wait", until=conversation.retry_at)
    return Owed(what="turn")


def _spent(active: ActiveRun, *, now: datetime) -> bool:
    """Is the run's clock at its end, or its wall time?"""
    clock, wall = active.clock_ends(), active.wall_ends()
    if clock is None and active.clock_seconds >= active.run_timeout_seconds:
        return active.approval_since is None
    return (clock is not None and now >= clock) or (wall is not None and now >= wall)


def start_next(conversation: Conversation, card: CardView, *, now: datetime) -> Step:
    """Make the first queued run active, pinning its card; or end it, when its agent may not run."""
    request, *_ = conversation.queued
    if card.state != "active":
        return end_waiting(
            conversation, request, RunStatus.FAILED, error=_agent_gone(request, card), now=now
        )
    active = ActiveRun(
        request=request,
        card_digest=card.digest,
        run_timeout_seconds=_timeout(request, card, now=now),
        max_tokens=_max_tokens(request, card),
        started_at=now,
    )
    started = replace(conversation, active=active, queued=conversation.queued[1:])
    return Step(conversation=started, runs=(active.run,))


def disabled(conversation: Conversation, card: CardView, *, now: datetime) -> Step | None:
    """The end of the active run when its agent was switched off; None when it may go on."""
    active = conversation.active
    if active is None or card.state != "disabled":
        return None
    error = _agent_gone(active.request, card)
    return end_active(conversation, RunStatus.FAILED, error=error, now=now)


def answered(
    conversation: Conversation,
    *,
    text: str,
    usage: Usage,
    model: str,
    seconds: float,
    now: datetime,
) -> Step:
    """The model answered: the turn enters the history and the run completes."""
    active = active_run(conversation)
    counted = counted_turn(active, usage=usage, model=model, seconds=seconds)
    messages = said(conversation, text=text, now=now)
    sequence = conversation.next_sequence + len(messages)
    state = replace(conversation, next_sequence=sequence, active=counted)
    end = end_active(state, RunStatus.COMPLETED, output=text, now=now)
    return replace(end, messages=messages)


def counted_turn(active: ActiveRun, *, usage: Usage, model: str, seconds: float) -> ActiveRun:
    """The run after one more answer of the model."""
    return replace(
        active,
        clock_seconds=active.clock_seconds + seconds,
        turns=active.turns + 1,
        usage=active.usage + usage,
        model=model,
        tools_since=None,
    )


def said(
    conversation: Conversation,
    *,
    text: str,
    now: datetime,
    tool_calls: tuple[MessageCall, ...] = (),
) -> tuple[Message, ...]:
    """The assistant's message of this turn; with the first one goes the question."""
    active = active_run(conversation)
    request, sequence = active.request, conversation.next_sequence
    question = Message(
        sequence=sequence,
        role="user",
        content=request.message,
        run_id=request.run_id,
        created_at=active.started_at,
    )
    before = () if active.turns else (question,)
    answer = Message(
        sequence=sequence + len(before),
        role="assistant",
        content=text,
        run_id=request.run_id,
        created_at=now,
        tool_calls=tool_calls,
    )
    return (*before, answer)


def _timeout(request: AdmittedRequest, card: CardView, *, now: datetime) -> float:
    """The card's, or what is left until nobody waits for a delegated run any more."""
    if request.parent is None:
        return card.run_timeout_seconds
    left = (request.parent.deadline - now).total_seconds()
    return max(0.0, min(card.run_timeout_seconds, left))


def _max_tokens(request: AdmittedRequest, card: CardView) -> int | None:
    """The card's, or what a delegated run's parent has left."""
    left = None if request.parent is None else request.parent.tokens_left
    limits = [limit for limit in (card.max_tokens, left) if limit is not None]
    return min(limits, default=None)


def _refuse(
    conversation: Conversation, request: AdmittedRequest, *, code: str, now: datetime
) -> Step:
    messages = {
        "conversation_not_found": f"there is no conversation {request.conversation_id!r} of yours",
        "agent_mismatch": (
            f"conversation {request.conversation_id!r} is with agent {conversation.agent_id!r},"
            f" not {request.agent_id!r}; leave conversation_id out to begin a new one"
        ),
        "conversation_full": (
            f"conversation {request.conversation_id!r} has {MAX_QUEUED_RUNS} runs waiting;"
            " send again when some have ended"
        ),
    }
    error = ErrorInfo(code=code, message=messages[code])
    return end_waiting(conversation, request, RunStatus.FAILED, error=error, now=now)


def _agent_gone(request: AdmittedRequest, card: CardView) -> ErrorInfo:
    if card.state == "disabled":
        return ErrorInfo(
            code="agent_disabled",
            message=f"agent {request.agent_id!r} is disabled; set enabled to true in its card",
        )
    return ErrorInfo(
        code="agent_removed",
        message=f"agent {request.agent_id!r} was removed; upload its card again",
    )
