"""How is the model asked for one turn, patiently and with an eye on cancellation?

Retries are ours: full jitter for up to a minute, honouring Retry-After; then the wait becomes the
conversation's state (`Away`). In the call and in the waits cancellation is looked for every second.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

from aos.domain.agent_card import AgentCard, system_prompt
from aos.domain.conversation import ActiveRun, Conversation, Message
from aos.errors import ErrorInfo, RunFailed, TransientError
from aos.ports import (
    ChatMessage,
    ChatModel,
    Clock,
    ConversationStore,
    Ids,
    ModelAnswer,
    ModelCall,
    RequestStore,
)

WATCH_SECONDS = 1.0
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 20.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnLimits:
    """Bounds of a turn, in seconds."""

    model_timeout_seconds: float = 120.0
    turn_seconds: float = 240.0
    patience_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The model answered in `seconds`; `missing_adapter` names the adapter it had to do without."""

    answer: ModelAnswer
    seconds: float
    missing_adapter: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Away:
    """The model stayed away; the endpoint may have said for how long."""

    retry_after: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The model or its set-up refuses for good."""

    error: ErrorInfo


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody asked for the run's cancellation."""


@dataclass(frozen=True, slots=True)
class RanOut:
    """The run's clock ran out in the call."""


@dataclass(frozen=True, slots=True)
class OutOfTime:
    """The handler has no time left for another call."""


TurnOutcome: TypeAlias = Answered | Away | Failed | Cancelled | RanOut | OutOfTime


class _CancelAsked(Exception):
    """Raised inside a turn when `cancel_requested_at` was seen."""


class Turns:
    """Asks the model for the next turn of an active run."""

    def __init__(
        self,
        *,
        model: ChatModel,
        conversations: ConversationStore,
        requests: RequestStore,
        clock: Clock,
        ids: Ids,
        limits: TurnLimits,
    ) -> None:
        self._model = model
        self._conversations = conversations
        self._requests = requests
        self._clock = clock
        self._ids = ids
        self._limits = limits

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
        messages = await self._messages(conversation, active, card)
        run_left = active.run_timeout_seconds - active.clock_seconds
        deadline = min(handler_deadline, self._clock.monotonic() + self._limits.turn_seconds)
        watch = _Watch(self._requests, active.request.run_id, on_slow)
        try:
            model, missing = await self._choose_model(card)
            return await self._ask(
                ModelCall(
                    model=model,
                    messages=messages,
                    parameters=card.parameters,
                    timeout_seconds=self._limits.model_timeout_seconds,
                ),
                run_left=run_left,
                deadline=deadline,
                watch=watch,
                missing_adapter=missing,
            )
        except _CancelAsked:
            return Cancelled()
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

    async def _messages(
        self, conversation: Conversation, active: ActiveRun, card: AgentCard
    ) -> tuple[ChatMessage, ...]:
        history: list[Message] = []
        if conversation.next_sequence:
            history = await self._conversations.history(
                conversation.conversation_id,
                before=conversation.next_sequence,
                limit=card.memory.window_messages,
            )
        return (
            ChatMessage(role="system", content=system_prompt(card)),
            *(ChatMessage(role=message.role, content=message.content) for message in history),
            ChatMessage(role="user", content=active.request.message),
        )

    async def _ask(
        self,
        call: ModelCall,
        *,
        run_left: float,
        deadline: float,
        watch: _Watch,
        missing_adapter: str | None,
    ) -> TurnOutcome:
        patience_ends = self._clock.monotonic() + self._limits.patience_seconds
        failures = 0
        while True:
            limit = min(call.timeout_seconds, run_left, deadline - self._clock.monotonic())
            if limit < WATCH_SECONDS and limit < run_left:
                return OutOfTime()
            outcome, seconds = await watch.over(self._complete(_within(call, limit)))
            if isinstance(outcome, ModelAnswer):
                return Answered(answer=outcome, seconds=seconds, missing_adapter=missing_adapter)
            if seconds >= run_left:
                return RanOut()
            delay = self._delay(failures, outcome)
            if self._clock.monotonic() + delay > min(patience_ends, deadline):
                return Away(retry_after=_retry_after(outcome))
            failures += 1
            await watch.over(self._clock.sleep(delay))

    async def _complete(self, call: ModelCall) -> tuple[ModelAnswer | TransientError, float]:
        """Ask once; what came of it, and the seconds that the call itself took."""
        started = self._clock.monotonic()
        try:
            answer = await self._model.complete(call)
        except TransientError as error:
            return error, self._clock.monotonic() - started
        return answer, self._clock.monotonic() - started

    def _delay(self, failures: int, error: TransientError) -> float:
        """Full jitter, or longer when the endpoint asked for it."""
        ceiling = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0**failures)
        return max(self._ids.jitter() * ceiling, error.retry_after_seconds or 0.0)


class _Watch:
    """Looks for cancellation every second while something is awaited."""

    def __init__(
        self, requests: RequestStore, run_id: str, on_slow: Callable[[], Awaitable[None]]
    ) -> None:
        self._requests = requests
        self._run_id = run_id
        self._on_slow = on_slow
        self._slow = False

    async def over(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`; raises _CancelAsked, the work then cancelled."""
        task = asyncio.ensure_future(work)
        try:
            while True:
                done, _ = await asyncio.wait({task}, timeout=WATCH_SECONDS)
                if done:
                    return task.result()
                await self._look()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, TransientError, RunFailed):
                await task  # also when it is done: else its error would be reported as unseen

    async def _look(self) -> None:
        if not self._slow:
            self._slow = True
            await self._on_slow()
        with contextlib.suppress(TransientError):
            if await self._requests.cancel_asked(self._run_id):
                raise _CancelAsked


def _within(call: ModelCall, seconds: float) -> ModelCall:
    return ModelCall(
        model=call.model,
        messages=call.messages,
        parameters=call.parameters,
        timeout_seconds=seconds,
    )


def _retry_after(error: TransientError) -> timedelta | None:
    if error.retry_after_seconds is None:
        return None
    return timedelta(seconds=error.retry_after_seconds)
