"""How do the tool calls of a turn go out, and their results come in?

Pure rules, as in `aos.domain.runs.advance`.
An answer that asks for tools is saved with the commands
that call them; results and decisions come in any order, each once; when all are in they enter the
history in the order in which they were asked for, and the next turn is owed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from aos.domain.cards.agent_card import AgentLimits
from aos.domain.envelope import CallTool, Outgoing, RequestRun, to_main, to_mcp
from aos.domain.json_writer import write_json
from aos.domain.runs.active_run import ActiveRun, OpenCall
from aos.domain.runs.advance import counted_turn, said
from aos.domain.runs.conversation import Conversation, Step
from aos.domain.runs.ending import active_run, continue_run, end_active, results
from aos.domain.runs.run import ParentRun, RunStatus, Usage
from aos.domain.tools.tool import Decision, ToolOutcome
from aos.errors import ErrorInfo

MAX_PARTS_BYTES = 2 * 1024 * 1024
"""Of results that are no text (images, resources), as JSON, in one turn: the head holds them."""


def called(
    conversation: Conversation,
    *,
    text: str,
    calls: tuple[OpenCall, ...],
    usage: Usage,
    model: str,
    seconds: float,
    limits: AgentLimits,
    now: datetime,
) -> Step:
    """The model asked for tools: the turn enters the history, and the calls are made.

    A run that may not have another turn, or not so many calls, ends here: nothing is called.
    """
    active = counted_turn(active_run(conversation), usage=usage, model=model, seconds=seconds)
    made = sum(call.state != "answered" for call in calls)
    error = _beyond(active, limits, made=made)
    if error is not None:
        counted = replace(conversation, active=active)
        return end_active(counted, RunStatus.FAILED, error=error, now=now)
    messages = said(
        conversation, text=text, now=now, tool_calls=tuple(call.as_said for call in calls)
    )
    calls = tuple(_with_times(call, limits, now=now) for call in calls)
    active = replace(active, tool_calls=active.tool_calls + made).with_calls(calls, now=now)
    commands = tuple(_command(active, call) for call in calls if call.state == "called")
    state = replace(
        conversation,
        active=active,
        next_sequence=conversation.next_sequence + len(messages),
        outbox=(*conversation.outbox, *commands),
        retry_at=None,
        retry_since=None,
        retries=0,
    )
    first = Step(conversation=state, messages=messages, runs=(active.run,))
    return first.then(_gathered(state, now=now))


def answered_call(
    conversation: Conversation,
    *,
    run_id: str,
    tool_call_id: str,
    result: ToolOutcome,
    tokens: int = 0,
    now: datetime,
) -> Step:
    """A result: taken once; one that nobody waits for, or waits for no more, changes nothing."""
    active = conversation.active
    if active is None or active.request.run_id != run_id:
        return Step(conversation=conversation)
    call = next((c for c in active.calls if c.tool_call_id == tool_call_id), None)
    if call is None or call.state != "called":
        return Step(conversation=conversation)
    spent = replace(active, child_tokens=active.child_tokens + tokens)
    return _moved(
        replace(conversation, active=spent),
        replace(call, state="answered", result=_kept(active, result)),
        now=now,
    )


def asked(conversation: Conversation, tool_call_ids: tuple[str, ...]) -> Step:
    """The list of what waits for people knows these calls now."""
    active = active_run(conversation)
    calls = tuple(
        replace(call, state="asked")
        if call.state == "to_ask" and call.tool_call_id in tool_call_ids
        else call
        for call in active.calls
    )
    return Step(conversation=replace(conversation, active=replace(active, calls=calls)))


def decided(
    conversation: Conversation, *, tool_call_id: str, decision: Decision, now: datetime
) -> Step:
    """The decision that stands about a call: it is made, or the model is told that it was denied.

    The time of a decision is not in the run's clock; what the call takes is.
    """
    active = active_run(conversation)
    call = next((c for c in active.calls if c.tool_call_id == tool_call_id), None)
    if call is None or not call.undecided:
        return Step(conversation=conversation)
    if decision.decision == "deny":
        reason = decision.reason or "no reason was given"
        denied = ToolOutcome(outcome="denied", content=reason)
        return _moved(conversation, replace(call, state="answered", result=denied), now=now)
    going = _moved(conversation, replace(call, state="called"), now=now)
    state = going.conversation
    command = _command(active_run(state), call)
    return replace(going, conversation=replace(state, outbox=(*state.outbox, command)))


def out_of_tokens(conversation: Conversation, *, now: datetime) -> Step | None:
    """The end of the active run when its tokens are spent; None when it may ask the model."""
    active = active_run(conversation)
    if active.max_tokens is None or active.tokens < active.max_tokens or not active.turns:
        return None
    return end_active(conversation, RunStatus.FAILED, error=_no_tokens(active), now=now)


def wakes_up(conversation: Conversation) -> Step:
    """A conversation that waits for tools or people is woken for its earliest deadline.

    One ContinueRun is enough: the one that is on its way serves, when it comes in time.
    """
    active = active_run(conversation)
    expiries = tuple(call.expires_at for call in active.calls if call.undecided)
    moments = [m for m in (active.clock_ends(), active.wall_ends(), *expiries) if m is not None]
    due = _whole_milliseconds(min(moments))
    if active.wake_at is not None and active.wake_at <= due:
        return Step(conversation=conversation)
    later = continue_run(conversation, active.request.run_id, due=due)
    state = replace(
        conversation,
        active=replace(active, wake_at=due),
        outbox=(*conversation.outbox, later),
    )
    return Step(conversation=state)


def _moved(conversation: Conversation, call: OpenCall, *, now: datetime) -> Step:
    """One call has moved on; the clocks are read, and the run row says so where it shows."""
    active = active_run(conversation)
    calls = tuple(call if c.tool_call_id == call.tool_call_id else c for c in active.calls)
    moved = active.with_calls(calls, now=now)
    state = replace(conversation, active=moved)
    runs = (moved.run,) if moved.run.status is not active.run.status else ()
    return Step(conversation=state, runs=runs).then(_gathered(state, now=now))


def _kept(active: ActiveRun, result: ToolOutcome) -> ToolOutcome:
    """The result as state keeps it: what is no text only as far as one turn may hold of it."""
    if not result.parts:
        return result
    here = [call.result.parts for call in active.calls if call.result is not None]
    size = sum(len(write_json(parts)) for parts in (*here, result.parts))
    if size <= MAX_PARTS_BYTES:
        return result
    note = "(what was not text is not kept: a turn holds at most 2 MiB of it)"
    return replace(result, parts=(), content=f"{result.content}\n{note}")


def _gathered(conversation: Conversation, *, now: datetime) -> Step:
    """When every result is in, they enter the history; the next turn is owed."""
    active = active_run(conversation)
    if not active.calls or any(call.state != "answered" for call in active.calls):
        return Step(conversation=conversation)
    messages = results(conversation, active.calls, now=now)
    state = replace(
        conversation,
        active=replace(active, calls=()),
        next_sequence=conversation.next_sequence + len(messages),
    )
    return Step(conversation=state, messages=messages)


def _with_times(call: OpenCall, limits: AgentLimits, *, now: datetime) -> OpenCall:
    """A call that waits for a person waits so long."""
    if not call.undecided:
        return call
    expires_at = now + timedelta(seconds=limits.approval_timeout_seconds)
    return replace(call, asked_at=now, expires_at=expires_at)


def _command(active: ActiveRun, call: OpenCall) -> Outgoing:
    """What makes the call: mcp's command, or main's for a delegated run."""
    request = active.request
    clock_ends = active.clock_ends()
    assert clock_ends is not None  # the clock goes while a call is out
    deadline = _whole_milliseconds(clock_ends)
    if call.server_id is not None:
        return to_mcp(
            CallTool(
                run_id=request.run_id,
                conversation_id=request.conversation_id,
                tool_call_id=call.tool_call_id,
                agent_id=request.agent_id,
                server_id=call.server_id,
                tool=call.tool,
                arguments=call.arguments,
                deadline=deadline,
                server_digest=call.server_digest,
                schema_digest=call.schema_digest,
                traceparent=request.traceparent,
            )
        )
    parent = request.parent
    return to_main(
        RequestRun(
            parent=ParentRun(
                run_id=request.run_id,
                conversation_id=request.conversation_id,
                tool_call_id=call.tool_call_id,
                root_run_id=request.run_id if parent is None else parent.root_run_id,
                depth=1 if parent is None else parent.depth + 1,
                deadline=deadline,
                tokens_left=active.tokens_left,
            ),
            owner=request.owner,
            agent_id=str(call.arguments["agent_id"]),
            message=str(call.arguments["message"]),
            as_admin=request.as_admin,
            traceparent=request.traceparent,
        )
    )


def _beyond(active: ActiveRun, limits: AgentLimits, *, made: int) -> ErrorInfo | None:
    """Why there can be no next turn, or these calls cannot be made; None when they can."""
    if active.turns >= limits.max_turns:
        return ErrorInfo(
            code="max_turns",
            message=(
                f"the model asked for tools in each of its {active.turns} turns; raise"
                " limits.max_turns in the agent card or ask for less"
            ),
        )
    if active.tool_calls + made > limits.max_tool_calls:
        return ErrorInfo(
            code="max_tool_calls",
            message=(
                f"{active.tool_calls + made} tool calls are more than the"
                f" {limits.max_tool_calls} of limits.max_tool_calls in the agent card"
            ),
        )
    if active.max_tokens is not None and active.tokens >= active.max_tokens:
        return _no_tokens(active)
    return None


def _no_tokens(active: ActiveRun) -> ErrorInfo:
    return ErrorInfo(
        code="max_tokens",
        message=(
            f"the run has spent {active.tokens} tokens of its {active.max_tokens}; raise"
            " limits.max_tokens_per_run in the agent card or ask for less"
        ),
    )


def _whole_milliseconds(moment: datetime) -> datetime:
    """What the wire can hold, so that what comes back is the same moment."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
