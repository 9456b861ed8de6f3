"""Asks the model for one turn, patiently and with an eye on cancellation. Entry point:
`Turns.take`.

Retries are ours: full jitter for up to a minute, honouring Retry-After; then the wait becomes the
conversation's state (`Away`). In the call and in the waits cancellation is looked for every second.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeAlias

from aos.domain.cards.agent_card import AgentCard
from aos.domain.runs.conversation import ActiveRun, Conversation
from aos.domain.runs.window import count_to_read
from aos.domain.tools.offer import Offer
from aos.errors import ErrorInfo, RunFailed, TransientError
from aos.ports.conversations import ConversationStore
from aos.ports.model import ChatMessage, ChatModel, ModelAnswer, ModelCall
from aos.ports.requests import RequestStore
from aos.ports.system import Clock, Ids
from aos.ports.telemetry import Telemetry
from aos.services.execution.model_spans import ModelIdentity, ModelSpans, described
from aos.services.execution.offering import NotListed, Offering
from aos.services.execution.prompting import chat_messages
from aos.services.execution.watching import WATCH_SECONDS, CancelAsked, Watch

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnLimits:
    """Bounds of a turn, in seconds."""

    model_timeout_seconds: float = 120.0
    turn_seconds: float = 240.0
    patience_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The model answered in `seconds`; `missing_adapter` names the adapter it had to do without.

    `offer` is what it could call.
    """

    answer: ModelAnswer
    seconds: float
    offer: Offer
    missing_adapter: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Away:
    """The model stayed away; the endpoint may have said for how long."""

    retry_after: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolsAway:
    """MCP servers that the agent is granted have not listed their tools yet."""

    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The model or its set-up refuses for good."""

    error: ErrorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The run's cancellation was asked for, by a caller or (with a code) by us."""

    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RanOut:
    """The run's clock ran out in the call."""


@dataclass(frozen=True, slots=True)
class OutOfTime:
    """The handler has no time left for another call."""


TurnOutcome: TypeAlias = Answered | Away | ToolsAway | Failed | Cancelled | RanOut | OutOfTime


class Turns:
    """Asks the model for the next turn of an active run."""

    def __init__(
        self,
        *,
        model: ChatModel,
        conversations: ConversationStore,
        requests: RequestStore,
        offering: Offering,
        clock: Clock,
        ids: Ids,
        telemetry: Telemetry,
        limits: TurnLimits,
        identity: ModelIdentity | None = None,
    ) -> None:
        self._model = model
        self._conversations = conversations
        self._requests = requests
        self._offering = offering
        self._clock = clock
        self._ids = ids
        self._telemetry = telemetry
        self._limits = limits
        self._spans = ModelSpans(telemetry, identity or ModelIdentity())

    async def take(
        self,
        conversation: Conversation,
        active: ActiveRun,
        card: AgentCard,
        *,
        handler_deadline: float,
        on_slow: Callable[[], Awaitable[None]],
    ) -> TurnOutcome:
        """Ask the model once more for this run.

        `handler_deadline` is on the monotonic clock; `on_slow` is awaited once, when the call
        has lasted a second. Raises TransientError when the history cannot be read.
        """
        parent = active.request.parent
        offer = await self._offering.offer(card, depth=0 if parent is None else parent.depth)
        if isinstance(offer, NotListed):
            return ToolsAway(servers=offer.servers)
        messages = await self._messages(conversation, active, card, offer)
        deadline = min(handler_deadline, self._clock.monotonic() + self._limits.turn_seconds)
        watch = Watch(self._requests, active.request.run_id, on_slow)
        try:
            model, missing = await self._choose_model(card)
            return await self._ask(
                ModelCall(
                    model=model,
                    messages=messages,
                    parameters=card.parameters,
                    timeout_seconds=self._limits.model_timeout_seconds,
                    tools=offer.tools,
                ),
                active=active,
                deadline=deadline,
                watch=watch,
                asked_with=(offer, missing),
            )
        except CancelAsked:
            return Cancelled(reason=await self._why(active))
        except RunFailed as error:
            return Failed(error=error.info)

    async def _choose_model(self, card: AgentCard) -> tuple[str | None, str | None]:
        """The name to ask for, and the adapter that the endpoint does not serve, if so."""
        if card.adapter_name is None:
            return card.model, None
        try:
            served = await self._model.served()
        except TransientError:
            served = frozenset()
        if card.adapter_name in served:
            return card.adapter_name, None
        if card.adapter_required:
            raise RunFailed(
                "adapter_unavailable",
                f"the model endpoint does not serve adapter {card.adapter_name!r}, which the card"
                " requires; load the adapter or set adapter_required to false",
            )
        return card.model, card.adapter_name

    async def _why(self, active: ActiveRun) -> str | None:
        """Why the cancellation was asked for; only delegated runs have reasons of ours."""
        if active.request.parent is None:
            return None
        stored = await self._requests.find(active.request.run_id)
        return None if stored is None else stored.cancel_reason

    async def _messages(
        self, conversation: Conversation, active: ActiveRun, card: AgentCard, offer: Offer
    ) -> tuple[ChatMessage, ...]:
        history = []
        if conversation.next_sequence:
            history = await self._conversations.history(
                conversation.conversation_id,
                before=conversation.next_sequence,
                limit=count_to_read(card.memory.window_messages, turns=active.turns),
            )
        return chat_messages(history, active, card, offer)

    async def _ask(
        self,
        call: ModelCall,
        *,
        active: ActiveRun,
        deadline: float,
        watch: Watch,
        asked_with: tuple[Offer, str | None],
    ) -> TurnOutcome:
        offer, missing = asked_with
        run_left = active.run_timeout_seconds - active.clock_seconds
        patience_ends = self._clock.monotonic() + self._limits.patience_seconds
        failures = 0
        while True:
            limit = min(call.timeout_seconds, run_left, deadline - self._clock.monotonic())
            if limit < WATCH_SECONDS and limit < run_left:
                return OutOfTime()
            outcome, seconds = await watch.over(self._complete(_within(call, limit), active))
            if isinstance(outcome, ModelAnswer):
                return Answered(
                    answer=outcome, seconds=seconds, offer=offer, missing_adapter=missing
                )
            if failures == 0:
                self._say_away(active, outcome)
            if seconds >= run_left:
                return RanOut()
            delay = self._delay(failures, outcome)
            if self._clock.monotonic() + delay > min(patience_ends, deadline):
                return Away(retry_after=_retry_after(outcome))
            failures += 1
            await watch.over(self._clock.sleep(delay))

    async def _complete(
        self, call: ModelCall, active: ActiveRun
    ) -> tuple[ModelAnswer | TransientError, float]:
        """Ask once; what came of it, and the seconds that the call itself took."""
        started = self._clock.monotonic()
        try:
            with self._spans.span(call, active.request) as span:
                answer = await self._model.complete(call)
                span.set(**described(answer))
        except TransientError as error:
            return error, self._clock.monotonic() - started
        return answer, self._clock.monotonic() - started

    def _say_away(self, active: ActiveRun, error: TransientError) -> None:
        """Once a turn: nobody but the log hears of a fault that is waited out."""
        request = active.request
        self._telemetry.log(
            "model_away",
            level="warning",
            reason=str(error),
            run_id=request.run_id,
            conversation_id=request.conversation_id,
            agent_id=request.agent_id,
        )

    def _delay(self, failures: int, error: TransientError) -> float:
        """Full jitter, or longer when the endpoint asked for it."""
        ceiling = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0**failures)
        return max(self._ids.jitter() * ceiling, error.retry_after_seconds or 0.0)


def _within(call: ModelCall, seconds: float) -> ModelCall:
    return replace(call, timeout_seconds=seconds)


def _retry_after(error: TransientError) -> timedelta | None:
    if error.retry_after_seconds is None:
        return None
    return timedelta(seconds=error.retry_after_seconds)
