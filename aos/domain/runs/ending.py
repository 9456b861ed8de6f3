"""How does a run end, and what does its end leave to be sent?

Pure rules. The end of a run is told to main, closes the tool calls that are still open, calls off
the runs that it delegated, and wakes the next run of its conversation.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from aos.domain.envelope import (
    CancelChild,
    ContinueRun,
    Outgoing,
    RunEnded,
    to_main,
    to_realm,
)
from aos.domain.runs.active_run import ActiveRun, OpenCall
from aos.domain.runs.conversation import Conversation, Message, Step
from aos.domain.runs.run import AdmittedRequest, Run, RunStatus
from aos.domain.tools.tool import DELEGATE, ToolOutcome
from aos.errors import ErrorInfo

_TOLD = {
    "ok": "",
    "error": "error: ",
    "outcome_unknown": "outcome unknown: ",
    "not_called": "not called: ",
    "denied": "denied: ",
}
NOT_DECIDED = ToolOutcome(
    outcome="not_called", content="the run ended before anybody had decided about this call"
)
NO_RESULT = ToolOutcome(
    outcome="outcome_unknown", content="the run ended before a result of this call came"
)


def end_active(
    conversation: Conversation,
    status: RunStatus,
    *,
    now: datetime,
    error: ErrorInfo | None = None,
    output: str = "",
) -> Step:
    """End the active run, tell main, and leave a ContinueRun when another run is queued.

    A history in which calls lack their results is one that models refuse, so calls still open are
    closed in it.
    """
    active = active_run(conversation)
    run = active.run.ended(status, at=now, error=error, output=output)
    messages = results(conversation, active.calls, now=now)
    free = replace(
        conversation,
        active=None,
        retry_at=None,
        retry_since=None,
        retries=0,
        next_sequence=conversation.next_sequence + len(messages),
        outbox=(*conversation.outbox, *_calling_off(active)),
    )
    return replace(_ended(free, active.request, run), messages=messages)


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


def expire(conversation: Conversation, request: AdmittedRequest, *, now: datetime) -> Step:
    """End a queued run that waited longer than START_LIMIT to start."""
    error = ErrorInfo(
        code="start_timeout",
        message=f"run {request.run_id!r} waited more than 24 h to start; send it again",
    )
    return end_waiting(conversation, request, RunStatus.TIMED_OUT, error=error, now=now)


def timed_out(conversation: Conversation, *, now: datetime) -> Step:
    """End the active run because its clock or its wall time is spent."""
    active = active_run(conversation)
    error = ErrorInfo(
        code="run_timeout",
        message=(
            f"the run took longer than its {active.run_timeout_seconds:g} s; raise"
            " limits.run_timeout_seconds in the agent card or ask for less"
        ),
    )
    return end_active(conversation, RunStatus.TIMED_OUT, error=error, now=now)


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
    run_id = active_run(conversation).request.run_id
    again = continue_run(conversation, run_id, due=None)
    return Step(conversation=replace(conversation, outbox=(*conversation.outbox, again)))


def results(
    conversation: Conversation, calls: tuple[OpenCall, ...], *, now: datetime
) -> tuple[Message, ...]:
    """The tool messages of a turn's calls, in the order in which they were asked for."""
    run_id = active_run(conversation).request.run_id
    return tuple(
        Message(
            sequence=conversation.next_sequence + place,
            role="tool",
            content=told(call.result or (NOT_DECIDED if call.undecided else NO_RESULT)),
            run_id=run_id,
            created_at=now,
            tool_call_id=call.tool_call_id,
            parts=() if call.result is None else call.result.parts,
        )
        for place, call in enumerate(calls)
    )


def told(outcome: ToolOutcome) -> str:
    """An outcome in the words that the model reads."""
    return f"{_TOLD[outcome.outcome]}{outcome.content}"


def wakes_itself(conversation: Conversation) -> bool:
    """True when the outbox holds a ContinueRun for now: the rest is left to it."""
    return any(
        isinstance(outgoing.command, ContinueRun) and outgoing.scheduled_at is None
        for outgoing in conversation.outbox
    )


def sent(conversation: Conversation) -> Conversation:
    """The conversation with its outbox cleared."""
    return replace(conversation, outbox=())


def continue_run(conversation: Conversation, run_id: str, *, due: datetime | None) -> Outgoing:
    """A ContinueRun for this session, now or then."""
    command = ContinueRun(run_id=run_id, conversation_id=conversation.conversation_id, due=due)
    return to_realm(command, scheduled_at=due)


def active_run(conversation: Conversation) -> ActiveRun:
    """The active run; ValueError where there is none."""
    if conversation.active is None:
        raise ValueError(f"conversation {conversation.conversation_id!r} has no active run")
    return conversation.active


def _ended(conversation: Conversation, request: AdmittedRequest, run: Run) -> Step:
    outbox = (*conversation.outbox, to_main(RunEnded.of(request, run)))
    if conversation.active is None and conversation.queued and not wakes_itself(conversation):
        next_run = conversation.queued[0].run_id
        outbox = (*outbox, continue_run(conversation, next_run, due=None))
    return Step(conversation=replace(conversation, outbox=outbox), runs=(run,))


def _calling_off(active: ActiveRun) -> tuple[Outgoing, ...]:
    """What ends the delegated runs that nobody waits for any more."""
    request = active.request
    return tuple(
        to_main(
            CancelChild(
                run_id=request.run_id,
                conversation_id=request.conversation_id,
                owner=request.owner,
                tool_call_id=call.tool_call_id,
            )
        )
        for call in active.calls
        if call.state == "called" and call.server_id is None and call.tool == DELEGATE
    )
