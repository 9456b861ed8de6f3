"""Decides how a conversation starts, continues and completes runs. Entry points: `admit`,
`find_next_action`.

The rules are pure functions: state and input in, a `Step` out. A step holds the new state with its
outbox, and the message and run rows that belong to it. The execution service saves it in one
transaction and then sends the outbox (docs/ARCHITECTURE.md, "The road of a request"). A rule whose
input the state already holds returns the same state: commands are idempotent by state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from aos.domain.envelope import CancelRun, ContinueRun
from aos.domain.runs.active_run import ActiveRun
from aos.domain.runs.conversation import CardView, Conversation, Message, Step
from aos.domain.runs.deletion import begin_again, cancel_if_deleted
from aos.domain.runs.run import AdmittedRequest, FinishReason, Run, RunStatus, Usage
from aos.domain.runs.waiting import START_LIMIT
from aos.domain.tools.tool import EndpointFields, MessageCall
from aos.errors import ErrorInfo

MAX_QUEUED_RUNS = 32
NO_RUN = ""
"""The run of a message that came with a request as said before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextAction:
    """What realm does next for a conversation.

    `clean`: remove what a deletion left. `start`: make the first queued run active. `expire`: end
    `request`, which waited too long. `turn`: ask the model. `time_out`: end the active run, whose
    clock or wall time is spent. `wait`: do nothing before `until`, for which a ContinueRun is
    scheduled. `tools`: do nothing before a result or a decision comes. `nothing`: no run is left.
    """

    what: Literal["clean", "start", "expire", "turn", "time_out", "wait", "tools", "nothing"]
    request: AdmittedRequest | None = None
    until: datetime | None = None


def admit(
    conversation: Conversation | None, request: AdmittedRequest, *, known: bool, now: datetime
) -> Step:
    """Apply a StartRun: queue the run, unless the state has it (`known`: its run row exists).

    When two owners raced for one conversation id, the second one's run ends as failed here. The
    history stays as it is.
    """
    state = conversation or Conversation.create(request, now=now)
    if known or state.has_run(request.run_id):
        return Step(conversation=state)
    late = cancel_if_deleted(state, request, now=now)
    if late is not None:
        return late
    if state.owner != request.owner and not request.as_admin:
        return _refuse(state, request, code="conversation_not_found", now=now)
    if state.agent_id != request.agent_id:
        return _refuse(state, request, code="agent_mismatch", now=now)
    if request.rejects_busy and (state.active or state.queued):
        return _refuse(state, request, code="conversation_busy", now=now)
    if len(state.queued) >= MAX_QUEUED_RUNS + (state.active is None):
        return _refuse(state, request, code="conversation_full", now=now)
    queued = replace(begin_again(state, request), queued=(*state.queued, request))
    return Step(conversation=queued, runs=(Run.from_request(request),))


def cancel(
    conversation: Conversation | None,
    command: CancelRun,
    *,
    known: bool,
    now: datetime,
) -> Step:
    """Apply a CancelRun: end the run as `cancelled`, even when its StartRun comes later."""
    request, error = command.request, cancel_error(command.reason)
    state = conversation or Conversation.create(request, now=now)
    if state.active is not None and state.active.request.run_id == request.run_id:
        return state.end_active(RunStatus.CANCELLED, error=error, now=now)
    if known and not state.has_run(request.run_id):
        return Step(conversation=state)
    late = cancel_if_deleted(state, request, now=now)
    return late or state.end_waiting(request, RunStatus.CANCELLED, error=error, now=now)


def cancel_error(reason: str | None) -> ErrorInfo | None:
    """The error of a run that AOS cancelled for a reason; None when a caller cancelled it."""
    if reason is None:
        return None
    return ErrorInfo(code=reason, message=_REASONS.get(reason, "AOS cancelled the run"))


_REASONS = {"parent_ended": "the run that this one was delegated by has ended"}


def clear_wait(conversation: Conversation, command: ContinueRun) -> Step:
    """Apply a ContinueRun: end the wait that scheduled it.

    The broker's clock decides, not ours. Ours may be behind: the wait would then continue with no
    command left to end it.
    """
    active = conversation.active
    cleaning = conversation.cleaning
    if cleaning is not None and command.due is not None and command.due == cleaning.retry_at:
        conversation = replace(conversation, cleaning=replace(cleaning, retry_at=None))
    if command.due is None or active is None:
        return Step(conversation=conversation)
    if command.due == active.wake_at:
        active = replace(active, wake_at=None)
    if command.due != conversation.retry_at:
        return Step(conversation=replace(conversation, active=active))
    active = replace(active, retry=None)
    return Step(
        conversation=replace(conversation, retry_at=None, active=active), runs=(active.run,)
    )


def find_next_action(conversation: Conversation, *, now: datetime) -> NextAction:
    """What to do next for this conversation. What a deletion left goes first."""
    cleaning, active = conversation.cleaning, conversation.active
    if cleaning is not None and active is None and _is_due(cleaning.retry_at, now=now):
        return NextAction(what="clean")
    for request in conversation.queued:
        if now - request.admitted_at >= START_LIMIT:
            return NextAction(what="expire", request=request)
    if cleaning is not None and active is None:
        return NextAction(what="wait", until=cleaning.retry_at)
    if active is None:
        return NextAction(what="start") if conversation.queued else NextAction(what="nothing")
    if _is_out_of_time(active, now=now):
        return NextAction(what="time_out")
    if active.calls:
        return NextAction(what="tools")
    if conversation.retry_at is not None and now < conversation.retry_at:
        return NextAction(what="wait", until=conversation.retry_at)
    return NextAction(what="turn")


def _is_due(moment: datetime | None, *, now: datetime) -> bool:
    return moment is None or now >= moment


def _is_out_of_time(active: ActiveRun, *, now: datetime) -> bool:
    """True when the run's clock or its wall time is spent."""
    clock, wall = active.clock_end, active.wall_end
    if clock is None and active.clock_seconds >= active.run_timeout_seconds:
        return active.approval_since is None
    return (clock is not None and now >= clock) or (wall is not None and now >= wall)


def start_next(conversation: Conversation, card: CardView, *, now: datetime) -> Step:
    """Make the first queued run active with the current card; end it if its agent may not run.

    What its request says was said before comes into the history now.
    """
    request, *_ = conversation.queued
    if card.state != "active":
        return conversation.end_waiting(
            request, RunStatus.FAILED, error=_agent_gone(request, card), now=now
        )
    active = ActiveRun(
        request=request,
        card_digest=card.digest,
        run_timeout_seconds=_limit_seconds(request, card, now=now),
        max_tokens=_limit_tokens(request, card),
        started_at=now,
    )
    said = _make_said_messages(active, sequence=conversation.next_sequence)
    started = replace(
        conversation,
        active=active,
        queued=conversation.queued[1:],
        next_sequence=conversation.next_sequence + len(said),
    )
    return Step(conversation=started, runs=(active.run,), messages=said)


def end_if_disabled(conversation: Conversation, card: CardView, *, now: datetime) -> Step | None:
    """End the active run when its agent was disabled; None when the run may continue."""
    active = conversation.active
    if active is None or card.state != "disabled":
        return None
    error = _agent_gone(active.request, card)
    return conversation.end_active(RunStatus.FAILED, error=error, now=now)


def complete(
    conversation: Conversation,
    *,
    text: str,
    usage: Usage,
    model: str,
    seconds: float,
    now: datetime,
    finish_reason: FinishReason | None = None,
    fields: EndpointFields | None = None,
    output: dict[str, Any] | None = None,
) -> Step:
    """Apply the model's answer: add the turn to the history and complete the run."""
    active = conversation.require_active()
    counted = replace(
        active.count_turn(usage=usage, model=model, seconds=seconds, now=now),
        finish_reason=finish_reason,
    )
    messages = make_turn_messages(conversation, text=text, now=now, fields=fields)
    sequence = conversation.next_sequence + len(messages)
    state = replace(conversation, next_sequence=sequence, active=counted)
    parts = None if output is None else ({"type": "data", "data": output},)
    end = state.end_active(RunStatus.COMPLETED, output=text, output_parts=parts, now=now)
    return replace(end, messages=messages)


def make_turn_messages(
    conversation: Conversation,
    *,
    text: str,
    now: datetime,
    tool_calls: tuple[MessageCall, ...] = (),
    fields: EndpointFields | None = None,
) -> tuple[Message, ...]:
    """The assistant's message of this turn; in the first turn, the user's message before it."""
    active = conversation.require_active()
    request, sequence = active.request, conversation.next_sequence
    question = Message(
        sequence=sequence,
        role="user",
        content=request.message,
        run_id=request.run_id,
        created_at=active.started_at,
        parts=request.parts,
    )
    before = () if active.turns else (question,)
    answer = Message(
        sequence=sequence + len(before),
        role="assistant",
        content=text,
        run_id=request.run_id,
        created_at=now,
        tool_calls=tool_calls,
        fields=fields,
    )
    return (*before, answer)


def _make_said_messages(active: ActiveRun, *, sequence: int) -> tuple[Message, ...]:
    """The messages that the request says were said before. They belong to no run."""
    options = active.request.options
    return tuple(
        Message(
            sequence=sequence + place,
            role=said.role,
            content=said.content,
            run_id=NO_RUN,
            created_at=active.started_at,
            parts=said.parts,
        )
        for place, said in enumerate(() if options is None else options.history)
    )


def _limit_seconds(request: AdmittedRequest, card: CardView, *, now: datetime) -> float:
    """The card's time limit, or for a delegated run the time until its parent's deadline."""
    if request.parent is None:
        return card.run_timeout_seconds
    left = (request.parent.deadline - now).total_seconds()
    return max(0.0, min(card.run_timeout_seconds, left))


def _limit_tokens(request: AdmittedRequest, card: CardView) -> int | None:
    """The card's token limit, or for a delegated run what its parent has left."""
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
        "conversation_busy": (
            f"conversation {request.conversation_id!r} has a run going on and agent"
            f" {request.agent_id!r} rejects more; send again when it has ended"
        ),
        "conversation_full": (
            f"conversation {request.conversation_id!r} has {MAX_QUEUED_RUNS} runs waiting;"
            " send again when some have ended"
        ),
    }
    error = ErrorInfo(code=code, message=messages[code])
    return conversation.end_waiting(request, RunStatus.FAILED, error=error, now=now)


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
