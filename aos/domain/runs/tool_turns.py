"""Decides how a turn's tool calls are made and their results taken. Entry points: `call_tools`,
`take_result`.

The rules are pure, as in `aos.domain.runs.advance`. An answer that asks for tools is saved with the
commands that call them. Results and decisions come in any order, and each is taken once. When all
are there, they enter the history in the order of the calls, and the next turn is due.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from aos.domain.cards.agent_card import AgentLimits
from aos.domain.json_writer import write_json
from aos.domain.runs.active_run import ActiveRun, OpenCall
from aos.domain.runs.advance import make_turn_messages
from aos.domain.runs.call_commands import cut_to_milliseconds, make_call_command
from aos.domain.runs.conversation import Conversation, Step
from aos.domain.runs.run import RunStatus, Usage
from aos.domain.tools.tool import Decision, EndpointFields, ToolOutcome
from aos.errors import ErrorInfo

MAX_PARTS_BYTES = 2 * 1024 * 1024
"""Content other than text (images, resources) of one turn's results, as JSON: the head holds it."""


def call_tools(
    conversation: Conversation,
    *,
    text: str,
    calls: tuple[OpenCall, ...],
    usage: Usage,
    model: str,
    seconds: float,
    limits: AgentLimits,
    now: datetime,
    fields: EndpointFields | None = None,
) -> Step:
    """Apply an answer that asks for tools: add the turn to the history and make the calls.

    A run that may not have another turn, or not as many calls, ends here and calls nothing.
    """
    active = conversation.require_active().count_turn(
        usage=usage, model=model, seconds=seconds, now=now
    )
    made = sum(call.state != "answered" for call in calls)
    error = _find_limit_error(active, limits, made=made)
    if error is not None:
        counted = replace(conversation, active=active)
        return counted.end_active(RunStatus.FAILED, error=error, now=now)
    messages = make_turn_messages(
        conversation,
        text=text,
        now=now,
        tool_calls=tuple(call.message_call for call in calls),
        fields=fields,
    )
    calls = tuple(_set_expiry(call, limits, now=now) for call in calls)
    active = replace(active, tool_calls=active.tool_calls + made).with_calls(calls, now=now)
    commands = tuple(make_call_command(active, call) for call in calls if call.state == "called")
    state = replace(
        conversation,
        active=active,
        next_sequence=conversation.next_sequence + len(messages),
        retry_at=None,
        retry_since=None,
        retries=0,
    ).add_to_outbox(*commands)
    first = Step(conversation=state, messages=messages, runs=(active.run,))
    return first.then(_close_turn(state, now=now))


def take_result(
    conversation: Conversation,
    *,
    run_id: str,
    tool_call_id: str,
    result: ToolOutcome,
    round_number: int = 0,
    tokens: int = 0,
    usage: Usage | None = None,
    now: datetime,
) -> Step:
    """Take a call's result, once; a result that the run does not wait for changes nothing."""
    call = find_awaited(
        conversation, run_id=run_id, tool_call_id=tool_call_id, round_number=round_number
    )
    if call is None:
        return Step(conversation=conversation)
    active = conversation.require_active()
    spent = active.count_child(tokens=tokens, usage=usage)
    return update_call(
        replace(conversation, active=spent),
        replace(
            call,
            state="answered",
            result=_limit_parts(active, result),
            milliseconds=_count_milliseconds(call, now),
        ),
        now=now,
    )


def find_awaited(
    conversation: Conversation, *, run_id: str, tool_call_id: str, round_number: int
) -> OpenCall | None:
    """The call whose result the run waits for; None for what it has, or does not know."""
    active = conversation.active
    if active is None or active.request.run_id != run_id:
        return None
    for call in active.calls:
        if (call.tool_call_id, call.round_number) == (tool_call_id, round_number):
            return call if call.state == "called" else None
    return None


def mark_asked(conversation: Conversation, tool_call_ids: tuple[str, ...]) -> Step:
    """Note that these calls are in the list of approvals or of questions."""
    active = conversation.require_active()
    calls = tuple(
        replace(call, state="asked")
        if call.state == "to_ask" and call.tool_call_id in tool_call_ids
        else call
        for call in active.calls
    )
    return Step(conversation=replace(conversation, active=replace(active, calls=calls)))


def take_decision(
    conversation: Conversation, *, tool_call_id: str, decision: Decision, now: datetime
) -> Step:
    """Apply a person's decision: make the call, or tell the model that it was denied.

    The run's clock does not count the time of the decision; it counts the time of the call.
    """
    active = conversation.require_active()
    call = next((c for c in active.calls if c.tool_call_id == tool_call_id), None)
    if call is None or not call.is_undecided or call.question is not None:
        return Step(conversation=conversation)
    if decision.decision == "deny":
        reason = decision.reason or "no reason was given"
        denied = ToolOutcome(outcome="denied", content=reason)
        return update_call(conversation, replace(call, state="answered", result=denied), now=now)
    step = update_call(conversation, replace(call, state="called"), now=now)
    command = make_call_command(step.conversation.require_active(), call)
    return replace(step, conversation=step.conversation.add_to_outbox(command))


def end_if_out_of_tokens(conversation: Conversation, *, now: datetime) -> Step | None:
    """End the active run when its tokens are spent; None when it may ask the model."""
    active = conversation.require_active()
    if active.max_tokens is None or active.tokens < active.max_tokens:
        return None
    return conversation.end_active(RunStatus.FAILED, error=_token_error(active), now=now)


def schedule_deadline(conversation: Conversation) -> Step:
    """Schedule a ContinueRun for the earliest deadline of what the run waits for.

    A ContinueRun that is already scheduled for an earlier or the same time is enough.
    """
    active = conversation.require_active()
    expiries = tuple(call.expires_at for call in active.calls if call.is_undecided)
    moments = [m for m in (active.clock_end, active.wall_end, *expiries) if m is not None]
    due = cut_to_milliseconds(min(moments))
    if active.wake_at is not None and active.wake_at <= due:
        return Step(conversation=conversation)
    state = replace(conversation, active=replace(active, wake_at=due))
    return Step(conversation=state.schedule_continue(active.request.run_id, due=due))


def update_call(conversation: Conversation, call: OpenCall, *, now: datetime) -> Step:
    """Replace one call, read the clocks, and write the run row, which says what it waits for."""
    active = conversation.require_active()
    calls = tuple(call if c.tool_call_id == call.tool_call_id else c for c in active.calls)
    updated = active.with_calls(calls, now=now)
    state = replace(conversation, active=updated)
    return Step(conversation=state, runs=(updated.run,)).then(_close_turn(state, now=now))


def _limit_parts(active: ActiveRun, result: ToolOutcome) -> ToolOutcome:
    """The result without its parts when the turn would hold too much content other than text."""
    if not result.parts:
        return result
    here = [call.result.parts for call in active.calls if call.result is not None]
    size = sum(len(write_json(parts)) for parts in (*here, result.parts))
    if size <= MAX_PARTS_BYTES:
        return result
    note = "(what was not text is not kept: a turn holds at most 2 MiB of it)"
    return replace(result, parts=(), content=f"{result.content}\n{note}")


def _close_turn(conversation: Conversation, *, now: datetime) -> Step:
    """Add the results to the history when all are there; the next turn is then due."""
    active = conversation.require_active()
    if not active.calls or any(call.state != "answered" for call in active.calls):
        return Step(conversation=conversation)
    messages = conversation.make_tool_messages(active.calls, now=now)
    closed = active.close_turn(now=now)
    state = replace(
        conversation,
        active=closed,
        next_sequence=conversation.next_sequence + len(messages),
    )
    return Step(conversation=state, messages=messages, runs=(closed.run,))


def _count_milliseconds(call: OpenCall, now: datetime) -> int:
    """What the call took. The clocks of machines differ, so it is never negative."""
    since = call.called_at or now
    return max(0, int((now - since).total_seconds() * 1000))


def _set_expiry(call: OpenCall, limits: AgentLimits, *, now: datetime) -> OpenCall:
    """Set how long a call waits for a person's decision."""
    if not call.is_undecided:
        return call
    expires_at = now + timedelta(seconds=limits.approval_timeout_seconds)
    return replace(call, asked_at=now, expires_at=expires_at)


def _find_limit_error(active: ActiveRun, limits: AgentLimits, *, made: int) -> ErrorInfo | None:
    """Why the run may not have a next turn or make these calls; None when it may."""
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
        return _token_error(active)
    return None


def _token_error(active: ActiveRun) -> ErrorInfo:
    return ErrorInfo(
        code="max_tokens",
        message=(
            f"the run has spent {active.tokens} tokens of its {active.max_tokens}; raise"
            " limits.max_tokens_per_run in the agent card or ask for less"
        ),
    )
