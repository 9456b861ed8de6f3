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

from aos.domain.conversation import ActiveRun, CardView, Conversation, Message, Step
from aos.domain.envelope import MAIN_QUEUE, ContinueRun, Outgoing, RunEnded, to_realm
from aos.domain.run import AdmittedRequest, Run, RunStatus, Usage
from aos.errors import ErrorInfo

MAX_QUEUED_RUNS = 32
START_LIMIT = timedelta(hours=24)
WALL_LIMIT = timedelta(hours=48)
OUTAGE_LIMIT = timedelta(hours=24)
RETRY_MINUTES = (1, 2, 4, 8, 15)
"""How long a conversation waits before it asks an absent model again; the last one repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """The next thing a conversation owes, and what it is about.

    `start`: make the first queued run active; `expire`: end `request`, which waited too long;
    `turn`: ask the model; `time_out`: the active run's clock or wall time is spent; `wait`:
    nothing before `until` (a ContinueRun is scheduled for it); `nothing`.
    """

    what: Literal["start", "expire", "turn", "time_out", "wait", "nothing"]
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
    conversation: Conversation | None, request: AdmittedRequest, *, known: bool, now: datetime
) -> Step:
    """A CancelRun: end the run as `cancelled`, also when it comes before its StartRun."""
    state = conversation or Conversation.begun_by(request, now=now)
    if state.active is not None and state.active.request.run_id == request.run_id:
        return end_active(state, RunStatus.CANCELLED, now=now)
    if known and not state.knows(request.run_id):
        return Step(conversation=state)
    return end_waiting(state, request, RunStatus.CANCELLED, now=now)


def woken(conversation: Conversation, command: ContinueRun) -> Step:
    """A ContinueRun: the one that a wait was scheduled with ends it.

    The broker's clock has decided that; ours may be behind, and then a look at it would leave
    nobody to wake the conversation.
    """
    if command.due is None or command.due != conversation.retry_at:
        return Step(conversation=conversation)
    return Step(conversation=replace(conversation, retry_at=None))


def owed(conversation: Conversation, *, now: datetime) -> Owed:
    """What this conversation owes next."""
    for request in conversation.queued:
        if now - request.admitted_at >= START_LIMIT:
            return Owed(what="expire", request=request)
    active = conversation.active
    if active is None:
        return Owed(what="start") if conversation.queued else Owed(what="nothing")
    if active.clock_seconds >= active.run_timeout_seconds or now - active.started_at >= WALL_LIMIT:
        return Owed(what="time_out")
    if conversation.retry_at is not None and now < conversation.retry_at:
        return Owed(what="wait", until=conversation.retry_at)
    return Owed(what="turn")


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
        run_timeout_seconds=card.run_timeout_seconds,
        started_at=now,
    )
    started = replace(conversation, active=active, queued=conversation.queued[1:])
    return Step(conversation=started, runs=(active.run,))


def expire(conversation: Conversation, request: AdmittedRequest, *, now: datetime) -> Step:
    """End a queued run that waited longer than START_LIMIT to start."""
    error = ErrorInfo(
        code="start_timeout",
        message=f"run {request.run_id!r} waited more than 24 h to start; send it again",
    )
    return end_waiting(conversation, request, RunStatus.TIMED_OUT, error=error, now=now)


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
    active = _active(conversation)
    request = active.request
    sequence = conversation.next_sequence
    question = Message(
        sequence=sequence,
        role="user",
        content=request.message,
        run_id=request.run_id,
        created_at=active.started_at,
    )
    answer = Message(
        sequence=sequence + 1, role="assistant", content=text, run_id=request.run_id, created_at=now
    )
    said = replace(
        conversation,
        next_sequence=sequence + 2,
        active=replace(active, clock_seconds=active.clock_seconds + seconds),
    )
    end = end_active(said, RunStatus.COMPLETED, output=text, usage=usage, model=model, now=now)
    return replace(end, messages=(question, answer))


def model_away(
    conversation: Conversation, *, now: datetime, retry_after: timedelta | None = None
) -> Step:
    """The model stayed away through the retries in the handler: the wait becomes state.

    The conversation leaves one ContinueRun scheduled for `retry_at`; after OUTAGE_LIMIT the run
    ends as failed, `model_unavailable`. The run's clock does not move.
    """
    since = conversation.retry_since or now
    active = _active(conversation)
    if now - since >= OUTAGE_LIMIT:
        error = ErrorInfo(
            code="model_unavailable",
            message="the model did not answer for 24 h; see the model endpoint's health",
        )
        return end_active(conversation, RunStatus.FAILED, error=error, now=now)
    minutes = RETRY_MINUTES[min(conversation.retries, len(RETRY_MINUTES) - 1)]
    retry_at = now + max(timedelta(minutes=minutes), retry_after or timedelta())
    retry_at = min(retry_at, since + OUTAGE_LIMIT)
    waiting = replace(
        conversation, retry_at=retry_at, retry_since=since, retries=conversation.retries + 1
    )
    later = _continue(waiting, active.request.run_id, due=retry_at)
    waiting = replace(waiting, outbox=(*waiting.outbox, later))
    return Step(conversation=waiting, runs=(active.run,))


def spent(conversation: Conversation, *, seconds: float) -> Conversation:
    """Add a model call's seconds to the active run's clock."""
    active = _active(conversation)
    more = replace(active, clock_seconds=active.clock_seconds + seconds)
    return replace(conversation, active=more)


def timed_out(conversation: Conversation, *, now: datetime) -> Step:
    """End the active run because its clock or its wall time is spent."""
    active = _active(conversation)
    error = ErrorInfo(
        code="run_timeout",
        message=(
            f"the run took longer than its {active.run_timeout_seconds:g} s; raise"
            " limits.run_timeout_seconds in the agent card or ask for less"
        ),
    )
    return end_active(conversation, RunStatus.TIMED_OUT, error=error, now=now)


def end_active(
    conversation: Conversation,
    status: RunStatus,
    *,
    now: datetime,
    error: ErrorInfo | None = None,
    output: str = "",
    usage: Usage | None = None,
    model: str | None = None,
) -> Step:
    """End the active run, tell main, and leave a ContinueRun when another run is queued."""
    active = _active(conversation)
    run = active.run.ended(status, at=now, error=error, output=output)
    run = replace(run, usage=usage or Usage(), model=model)
    free = replace(conversation, active=None, retry_at=None, retry_since=None, retries=0)
    return _ended(free, active.request, run)


def end_waiting(
    conversation: Conversation,
    request: AdmittedRequest,
    status: RunStatus,
    *,
    now: datetime,
    error: ErrorInfo | None = None,
) -> Step:
    """End a run that never became active (queued, or not even that), and tell main."""
    rest = tuple(item for item in conversation.queued if item.run_id != request.run_id)
    run = Run.queued(request).ended(status, at=now, error=error)
    return _ended(replace(conversation, queued=rest), request, run)


def give_up(conversation: Conversation, *, now: datetime) -> Step:
    """A command that failed on every delivery: end the run that it is stuck on.

    That is the active run, or the one that the handler made active each time and never saved.
    """
    error = ErrorInfo(
        code="internal_error",
        message="AOS failed on this run again and again and gave it up; see the logs of its run_id",
    )
    if conversation.active is not None:
        return end_active(conversation, RunStatus.FAILED, error=error, now=now)
    for request in conversation.queued[:1]:
        return end_waiting(conversation, request, RunStatus.FAILED, error=error, now=now)
    return Step(conversation=conversation)


def go_on_later(conversation: Conversation) -> Step:
    """The handler runs short of time: leave a ContinueRun for the same session."""
    run_id = _active(conversation).request.run_id
    again = _continue(conversation, run_id, due=None)
    return Step(conversation=replace(conversation, outbox=(*conversation.outbox, again)))


def wakes_itself(conversation: Conversation) -> bool:
    """True when the outbox holds a ContinueRun for now: the rest is left to it."""
    return any(
        isinstance(outgoing.command, ContinueRun) and outgoing.scheduled_at is None
        for outgoing in conversation.outbox
    )


def sent(conversation: Conversation) -> Conversation:
    """The conversation with its outbox cleared."""
    return replace(conversation, outbox=())


def _ended(conversation: Conversation, request: AdmittedRequest, run: Run) -> Step:
    ended = RunEnded(
        run=run, owner=request.owner, reply=request.reply, traceparent=request.traceparent
    )
    outbox = (*conversation.outbox, Outgoing(queue=MAIN_QUEUE, command=ended))
    if conversation.active is None and conversation.queued and not wakes_itself(conversation):
        next_run = conversation.queued[0].run_id
        outbox = (*outbox, _continue(conversation, next_run, due=None))
    return Step(conversation=replace(conversation, outbox=outbox), runs=(run,))


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


def _continue(conversation: Conversation, run_id: str, *, due: datetime | None) -> Outgoing:
    command = ContinueRun(run_id=run_id, conversation_id=conversation.conversation_id, due=due)
    return to_realm(command, scheduled_at=due)


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


def _active(conversation: Conversation) -> ActiveRun:
    if conversation.active is None:
        raise ValueError(f"conversation {conversation.conversation_id!r} has no active run")
    return conversation.active
