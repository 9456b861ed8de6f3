"""Calls the model with retries and traces, and stops when the run is cancelled. Entry point:
`ModelCaller.ask`.

Retries use full jitter and follow Retry-After. They last `patience_seconds`, which is a minute
(`turns.TurnLimits`). After that the run itself waits (`aos.domain.runs.absence`). During the call
and the waits a cancellation is looked for every second. Spans follow OpenTelemetry's GenAI
conventions and never hold the text of a conversation.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from aos.domain.runs.active_run import ActiveRun
from aos.domain.runs.run import AdmittedRequest, Usage
from aos.errors import (
    EmptyAnswer,
    ErrorInfo,
    OperatorFault,
    RunFailed,
    TransientError,
    UnreadableAnswer,
)
from aos.ports.model import ChatModel, ModelAnswer, ModelCall
from aos.ports.requests import RequestStore
from aos.ports.system import Clock, Ids
from aos.ports.telemetry import Span, Telemetry
from aos.services.execution.turn_outcome import HandlerOutOfTime, ModelAway, RunOutOfTime, Spent

AWAY_SECONDS = 60.0
"""After this time without an answer the app's health says that the model is away."""
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 20.0
WATCH_SECONDS = 1.0
MOST_REASON = 300
"""Characters of an error's text that events and the run's `waiting` tell."""
UNREADABLE_MOST = 3
"""After as many answers in a row that cannot be read, the run says what an operator must do."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """How traces name the endpoint: its provider, and the model that is asked for by default."""

    provider: str = "openai"
    default_model: str | None = None


class CancelAsked(Exception):
    """Raised inside a turn when a cancellation of its run was seen."""


class CancelWatch:
    """Looks for a run's cancellation every second while something is awaited."""

    def __init__(
        self, requests: RequestStore, run_id: str, on_slow: Callable[[], Awaitable[None]]
    ) -> None:
        self._requests = requests
        self._run_id = run_id
        self._on_slow = on_slow
        self._slow = False

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await the coroutine. Cancels it and raises CancelAsked when a cancellation was seen."""
        task = asyncio.ensure_future(coroutine)
        try:
            while True:
                done, _ = await asyncio.wait({task}, timeout=WATCH_SECONDS)
                if done:
                    return task.result()
                await self._look()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, TransientError, RunFailed):
                await task  # also when it is done: asyncio reports an error that nobody has read

    async def _look(self) -> None:
        if not self._slow:
            self._slow = True
            await self._on_slow()
        with contextlib.suppress(TransientError):
            if await self._requests.is_cancel_requested(self._run_id):
                raise CancelAsked


class TurnMeter:
    """Adds up what the answers took that a turn cannot use."""

    def __init__(self) -> None:
        self.spent = Spent()
        self.reason: str | None = None
        """Why the last ask gave no answer."""

    def add(self, usage: object, *, seconds: float = 0.0) -> None:
        """Count one more such answer; its `usage` is None if nobody told it."""
        told = usage if isinstance(usage, Usage) else Usage()
        self.spent = Spent(usage=self.spent.usage + told, seconds=self.spent.seconds + seconds)


class ModelCaller:
    """Calls the model until it answers, at most for `patience_seconds`."""

    def __init__(
        self,
        *,
        model: ChatModel,
        clock: Clock,
        ids: Ids,
        telemetry: Telemetry,
        identity: ModelIdentity,
        patience_seconds: float,
    ) -> None:
        self._model = model
        self._clock = clock
        self._ids = ids
        self._telemetry = telemetry
        self._identity = identity
        self._patience_seconds = patience_seconds
        self.fault: ErrorInfo | None = None
        """What an operator must mend before the model answers; None once it has answered."""
        self._away_since: float | None = None

    @property
    def trouble(self) -> str | None:
        """The code of what an operator must mend, or of a model that has been away for a minute, as
        last seen here; None once it has answered."""
        if self.fault is not None:
            return self.fault.code
        since = self._away_since
        if since is None or self._clock.monotonic() - since < AWAY_SECONDS:
            return None
        return "model_unavailable"

    async def ask(
        self,
        call: ModelCall,
        active: ActiveRun,
        watch: CancelWatch,
        meter: TurnMeter,
        *,
        deadline: float,
    ) -> tuple[ModelAnswer, float] | ModelAway | RunOutOfTime | HandlerOutOfTime:
        """The answer and the seconds that its call took, or why there is none.

        `deadline` is on the monotonic clock. Raises CancelAsked and RunFailed.
        """
        run_left = active.run_timeout_seconds - active.clock_seconds - meter.spent.seconds
        if run_left <= 0:
            return RunOutOfTime()
        patience_ends = self._clock.monotonic() + self._patience_seconds
        failures = unreadable = 0
        while True:
            left = min(run_left, deadline - self._clock.monotonic())
            if left < WATCH_SECONDS and left < run_left:
                return HandlerOutOfTime()
            answer, seconds = await watch.run(
                self._complete(call, active.request, meter, seconds=left)
            )
            if isinstance(answer, ModelAnswer):
                self.fault = self._away_since = None
                return answer, seconds
            if failures == 0:
                self._note_away(active.request, answer)
            unreadable = unreadable + 1 if isinstance(answer, UnreadableAnswer) else 0
            if isinstance(answer, UnreadableAnswer) and unreadable == UNREADABLE_MOST:
                answer = answer.make_fault()
            if isinstance(answer, OperatorFault):
                self.fault = answer.info
                return ModelAway(retry_after=_retry_after(answer), fault=answer.info)
            if seconds >= run_left:
                return RunOutOfTime()
            delay = self._choose_delay(failures, answer)
            if self._clock.monotonic() + delay > min(patience_ends, deadline):
                return ModelAway(retry_after=_retry_after(answer), reason=meter.reason)
            failures += 1
            await watch.run(self._clock.sleep(delay))

    async def _complete(
        self, call: ModelCall, request: AdmittedRequest, meter: TurnMeter, *, seconds: float
    ) -> tuple[ModelAnswer | TransientError, float]:
        """Call the model for at most `seconds`; the answer or the error, and the seconds that it
        took."""
        started = self._clock.monotonic()
        try:
            with self._open_span(call, request) as span:
                answer = await self._complete_by_any(call, meter, ends=started + seconds)
                span.set(
                    **{
                        "gen_ai.response.model": answer.model,
                        "gen_ai.usage.input_tokens": answer.usage.input_tokens,
                        "gen_ai.usage.output_tokens": answer.usage.output_tokens,
                    }
                )
        except TransientError as error:
            return error, self._clock.monotonic() - started
        except RunFailed as error:
            meter.add(error.usage, seconds=self._clock.monotonic() - started)
            raise
        return answer, self._clock.monotonic() - started

    async def _complete_by_any(
        self, call: ModelCall, meter: TurnMeter, *, ends: float
    ) -> ModelAnswer:
        """The answer of the first model that is not away; raises the first one's error.

        A model that says nothing, as small ones do after a tool's result, is called once more.
        `ends` is on the monotonic clock; a model is not called after it.
        """
        away: TransientError | None = None
        for model in (call.model, *call.fallbacks):
            asked = replace(call, model=model, fallbacks=())
            try:
                try:
                    return await self._complete_before(ends, asked, meter)
                except EmptyAnswer as error:
                    meter.add(error.usage)
                    meter.reason = str(error)
                    return await self._complete_before(ends, asked, meter)
            except TransientError as error:
                meter.reason = str(error)[:MOST_REASON]
                away = away or error
        assert away is not None  # there is a first model
        raise away

    async def _complete_before(self, ends: float, call: ModelCall, meter: TurnMeter) -> ModelAnswer:
        """Call one model for the time that it may take and that is left."""
        left = ends - self._clock.monotonic()
        if left <= 0:
            raise TransientError("no time is left to ask the model")
        if call.sink is not None:
            model = call.model or self._identity.default_model
            call.sink.begin(model, reason=meter.reason)
        answer = await self._model.complete(
            replace(call, timeout_seconds=min(call.timeout_seconds, left))
        )
        meter.reason = None
        return answer

    def _open_span(self, call: ModelCall, request: AdmittedRequest) -> AbstractContextManager[Span]:
        """The span of one call, in the run's trace."""
        model = call.model or self._identity.default_model
        return self._telemetry.span(
            "chat" if model is None else f"chat {model}",
            kind="client",
            traceparent=request.traceparent,
            **{
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": self._identity.provider,
                # The older name, which Azure Monitor's exporter reads for a dependency's type.
                "gen_ai.system": self._identity.provider,
                "gen_ai.request.model": model,
                "gen_ai.agent.id": request.agent_id,
                "gen_ai.agent.name": request.agent_id,
                "gen_ai.conversation.id": request.conversation_id,
                "run_id": request.run_id,
            },
        )

    def _note_away(self, request: AdmittedRequest, error: TransientError) -> None:
        """Note and log the first failure of a turn: retries hide it from everybody else."""
        if self._away_since is None:
            self._away_since = self._clock.monotonic()
        self._telemetry.log(
            "model_away",
            level="warning",
            reason=str(error),
            run_id=request.run_id,
            conversation_id=request.conversation_id,
            agent_id=request.agent_id,
        )

    def _choose_delay(self, failures: int, error: TransientError) -> float:
        """Return the seconds to wait: full jitter, or longer if the endpoint asks for it."""
        ceiling = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0**failures)
        return max(self._ids.jitter() * ceiling, error.retry_after_seconds or 0.0)


def _retry_after(error: TransientError) -> timedelta | None:
    if error.retry_after_seconds is None:
        return None
    return timedelta(seconds=error.retry_after_seconds)
