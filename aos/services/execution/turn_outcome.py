"""Defines what a turn can come to, and turns it into the conversation's next step. Entry points:
`TurnOutcome`, `make_step`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeAlias, assert_never

from aos.domain.cards.agent_card import AgentCard
from aos.domain.envelope import AGENT_EVENTS, Event
from aos.domain.runs import absence, advance, tool_turns
from aos.domain.runs.active_run import ActiveRun
from aos.domain.runs.conversation import Conversation, Step
from aos.domain.runs.run import FinishReason, RunStatus, Usage
from aos.domain.tools.offer import Offer, plan_calls
from aos.errors import ErrorInfo
from aos.ports.model import ModelAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What the answers took that a turn could not use: empty ones, and outputs that did not fit."""

    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The model answered after `seconds`. `offer` holds the tools that it could call.

    `missing_adapter` names the LoRA adapter that the endpoint does not serve.
    """

    answer: ModelAnswer
    seconds: float
    offer: Offer
    missing_adapter: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAway:
    """The model did not answer; `retry_after` is the wait that the endpoint asked for.

    `fault` is what an operator must mend first; None for an outage.
    """

    retry_after: timedelta | None
    fault: ErrorInfo | None = None
    reason: str | None = None
    """What the endpoint said last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolsAway:
    """MCP servers that the agent may use have not listed their tools."""

    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The model rejects the request, or its configuration is wrong; a retry does not help."""

    error: ErrorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """A caller cancelled the run, or AOS did for a `reason` (an error code)."""

    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RunOutOfTime:
    """The run's clock was spent during the call."""


@dataclass(frozen=True, slots=True)
class HandlerOutOfTime:
    """The handler has no time left for another call."""


TurnOutcome: TypeAlias = (
    Answered | ModelAway | ToolsAway | Failed | Cancelled | RunOutOfTime | HandlerOutOfTime
)


def make_step(
    conversation: Conversation,
    active: ActiveRun,
    card: AgentCard,
    outcome: TurnOutcome,
    *,
    spent: Spent,
    now: datetime,
) -> Step:
    """Apply the turn's outcome to the conversation; what it `spent` counts either way."""
    active = conversation.require_active().count_spent(usage=spent.usage, seconds=spent.seconds)
    conversation = replace(conversation, active=active)
    match outcome:
        case Answered():
            return _apply_answer(conversation, active, card, outcome, now=now)
        case ModelAway(retry_after=retry_after, fault=fault, reason=reason):
            return absence.wait_for_model(
                conversation, now=now, retry_after=retry_after, fault=fault, reason=reason
            )
        case ToolsAway(servers=servers):
            return absence.wait_for_tools(conversation, servers=servers, now=now)
        case Failed(error=error):
            return conversation.end_active(RunStatus.FAILED, error=error, now=now)
        case Cancelled(reason=reason):
            cause = advance.cancel_error(reason)
            return conversation.end_active(RunStatus.CANCELLED, error=cause, now=now)
        case RunOutOfTime():
            return conversation.time_out(now=now)
        case HandlerOutOfTime():
            return conversation.continue_later()
        case _:
            assert_never(outcome)


def count_tokens(outcome: TurnOutcome) -> int:
    """The tokens of the answer that the turn can use."""
    return outcome.answer.usage.total_tokens if isinstance(outcome, Answered) else 0


def is_answer_lost(outcome: TurnOutcome) -> bool:
    """Whether a call of the model may have been given up that its endpoint counts."""
    return isinstance(outcome, Cancelled | RunOutOfTime)


def make_events(active: ActiveRun, outcome: TurnOutcome, *, at: datetime) -> tuple[Event, ...]:
    """The events to publish about the turn's outcome."""
    if isinstance(outcome, Answered) and outcome.missing_adapter is not None:
        return (_adapter_missing(active, outcome.missing_adapter, at=at),)
    return ()


def _apply_answer(
    conversation: Conversation,
    active: ActiveRun,
    card: AgentCard,
    outcome: Answered,
    *,
    now: datetime,
) -> Step:
    """Complete the run, or make the tool calls that the model asks for."""
    answer = outcome.answer
    conversation = _note_unavailable(conversation, outcome.offer)
    if not answer.tool_calls:
        return advance.complete(
            conversation,
            text=answer.text,
            usage=answer.usage,
            model=answer.model,
            seconds=outcome.seconds,
            now=now,
            finish_reason=_shown_reason(answer),
            fields=answer.fields,
            output=answer.output,
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
        fields=answer.fields,
    )


def _shown_reason(answer: ModelAnswer) -> FinishReason | None:
    """Why the run's output is not what it should be; None for a good one."""
    match answer.finish_reason:
        case "length" | "unparsed_tool_call" as reason:
            return reason
        case _:
            return None


def _note_unavailable(conversation: Conversation, offer: Offer) -> Conversation:
    """Note in the active run the MCP servers whose tools it had to do without."""
    active = conversation.require_active()
    servers = tuple(sorted({*active.unavailable_servers, *offer.unavailable}))
    return replace(conversation, active=replace(active, unavailable_servers=servers))


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
