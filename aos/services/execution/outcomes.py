"""What follows from the outcome of a turn?"""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from aos.domain.cards.agent_card import AgentCard
from aos.domain.envelope import AGENT_EVENTS, Event
from aos.domain.runs import absence, advance, tool_turns
from aos.domain.runs.active_run import ActiveRun
from aos.domain.runs.conversation import Conversation, Step
from aos.domain.runs.run import RunStatus
from aos.domain.tools.offer import plan_calls
from aos.services.execution.turns import (
    Answered,
    Away,
    Cancelled,
    Failed,
    OutOfTime,
    RanOut,
    ToolsAway,
    TurnOutcome,
)


def step_of(
    conversation: Conversation,
    active: ActiveRun,
    card: AgentCard,
    outcome: TurnOutcome,
    *,
    now: datetime,
) -> Step:
    """The conversation's next step."""
    match outcome:
        case Answered():
            return _said(conversation, active, card, outcome, now=now)
        case Away(retry_after=retry_after):
            return absence.wait_for_model(conversation, now=now, retry_after=retry_after)
        case ToolsAway(servers=servers):
            return absence.wait_for_tools(conversation, servers=servers, now=now)
        case Failed(error=error):
            return conversation.end_active(RunStatus.FAILED, error=error, now=now)
        case Cancelled(reason=reason):
            why = advance.cancel_error(reason)
            return conversation.end_active(RunStatus.CANCELLED, error=why, now=now)
        case RanOut():
            return conversation.time_out(now=now)
        case OutOfTime():
            return conversation.continue_later()
        case _:
            assert_never(outcome)


def events_of(active: ActiveRun, outcome: TurnOutcome, *, at: datetime) -> tuple[Event, ...]:
    """What the outside hears of it."""
    if isinstance(outcome, Answered) and outcome.missing_adapter is not None:
        return (_adapter_missing(active, outcome.missing_adapter, at=at),)
    return ()


def _said(
    conversation: Conversation,
    active: ActiveRun,
    card: AgentCard,
    outcome: Answered,
    *,
    now: datetime,
) -> Step:
    """The model gave its answer, or asked for tools first."""
    answer = outcome.answer
    if not answer.tool_calls:
        return advance.complete(
            conversation,
            text=answer.text,
            usage=answer.usage,
            model=answer.model,
            seconds=outcome.seconds,
            now=now,
        )
    run_id = active.request.run_id
    return tool_turns.call_tools(
        conversation,
        text=answer.text,
        calls=plan_calls(answer.tool_calls, outcome.offer, run_id=run_id, turn=active.turns),
        usage=answer.usage,
        model=answer.model,
        seconds=outcome.seconds,
        limits=card.limits,
        now=now,
    )


def _adapter_missing(active: ActiveRun, adapter: str, *, at: datetime) -> Event:
    request = active.request
    return Event(
        topic=AGENT_EVENTS,
        id=f"{request.run_id}:adapter",
        type="agent.adapter_missing",
        source=f"aos/agents/{request.agent_id}",
        time=at,
        data={"run_id": request.run_id, "agent_id": request.agent_id, "adapter_name": adapter},
        traceparent=request.traceparent,
    )
