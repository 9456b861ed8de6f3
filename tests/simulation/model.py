"""What does the model say in the simulation?

Every answer differs (a counter is in its text) and every call is recorded, so that the oracle can
tell which answer entered the history and which one was sent out.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from itertools import count

from aos.domain.runs.run import Usage
from aos.domain.tools.tool import AskedCall
from aos.errors import RunFailed, TransientError
from aos.ports.model import ChatMessage, ModelAnswer, ModelCall, TextSink
from tests.simulation.faults import FaultInjector, Weather
from tests.simulation.loop import VirtualLoop

CUT_SHARE = 0.1
"""So many streams of the model are cut at their end."""


@dataclass(slots=True, kw_only=True)
class Asked:
    """One call: what the model saw, how long it took, what it answered (None: nothing); `told` is
    what a watched call was going to say."""

    question: str
    messages: tuple[ChatMessage, ...]
    seconds: float = 0.0
    answer: str | None = None
    tokens: int = 0
    told: str = ""


@dataclass(slots=True)
class Oracle:
    """What all instances' models share: the counter and the record."""

    numbers: count[int] = field(default_factory=lambda: count(1))
    asked: list[Asked] = field(default_factory=list)


class SimModel:
    """The model as one realm instance sees it."""

    def __init__(
        self,
        *,
        record: Oracle,
        intercept: FaultInjector,
        loop: VirtualLoop,
        weather: Weather,
        rng: random.Random,
    ) -> None:
        self._record = record
        self._intercept = intercept
        self._loop = loop
        self._weather = weather
        self._rng = rng

    def is_configured(self) -> bool:
        """Always."""
        return True

    async def list_served(self) -> frozenset[str]:
        """One model, no adapters."""
        return frozenset({"m"})

    async def complete(self, call: ModelCall) -> ModelAnswer:
        """Answer after a while: soon, slowly, never, or with a refusal that the question names."""
        question = next(m.content for m in reversed(call.messages) if m.role == "user")
        asked = Asked(question=question, messages=tuple(call.messages))
        self._record.asked.append(asked)
        started = self._loop.seconds
        try:
            await self._intercept("model.complete", question, lambda: None)
            number = 0 if call.sink is None else await self._write(call, call.sink, asked)
            if not number:
                await self._take_time(question, call.timeout_seconds)
        finally:
            asked.seconds = self._loop.seconds - started
        self._fail(question)
        number = number or next(self._record.numbers)
        asked.answer = f"answer {number} to {question}"
        usage = Usage(
            input_tokens=len(call.messages),
            output_tokens=number,
            cached_tokens=len(call.messages) - 1,
            reasoning_tokens=number // 2,
        )
        asked.tokens = usage.total_tokens
        calls = self._calls(call, question) if "[tools]" in question else ()
        return ModelAnswer(text=asked.answer, usage=usage, model="m", tool_calls=calls)

    async def _write(self, call: ModelCall, sink: TextSink, asked: Asked) -> int:
        """Write the answer while somebody reads: piece by piece, now and then not to its end."""
        number, limit = next(self._record.numbers), call.timeout_seconds
        asked.told = text = f"answer {number} to {asked.question}"
        pieces = self._rng.choice((1, 2, 3, 5))
        seconds = self._choose_seconds(asked.question)
        shown = len(text) if self._rng.random() < 0.7 else self._rng.randrange(len(text))
        for piece in range(pieces):
            await self._loop.pause(min(seconds, limit) / pieces)
            sink.add(text[shown * piece // pieces : shown * (piece + 1) // pieces])
        if seconds > limit or self._rng.random() < CUT_SHARE:
            raise TransientError("the model's stream was cut")
        return number

    def _calls(self, call: ModelCall, question: str) -> tuple[AskedCall, ...]:
        """Tools at first, less and less of them; now and then nonsense."""
        turn = next(n for n, m in enumerate(reversed(call.messages)) if m.role == "user")
        if self._rng.random() > (0.9 if not turn else 0.35):
            return ()
        names = [tool.name for tool in call.tools] or ["nothing"]
        return tuple(
            self._one(self._rng.choice(names), question) for _ in range(self._rng.choice((1, 1, 3)))
        )

    def _one(self, name: str, question: str) -> AskedCall:
        number = next(self._record.numbers)
        arguments: dict[str, object] = {"n": number}
        if name == "delegate":
            who = self._rng.choice(("ceo", "ceo", "tooled", "gone"))
            mood = self._rng.choice(("", "[tools]", "[refused]", "[slow]"))
            arguments |= {"agent_id": who, "message": f"{number} of {question[:3]}? {mood}"}
        broken = self._rng.random() < 0.05
        return AskedCall(name=name, arguments="{" if broken else json.dumps(arguments))

    async def _take_time(self, question: str, limit: float) -> None:
        seconds = self._choose_seconds(question)
        await self._loop.pause(min(seconds, limit))
        if seconds > limit:
            raise TransientError(f"no answer within {limit:g} s")

    def _choose_seconds(self, question: str) -> float:
        seconds = 0.05 + 1.2 * self._rng.random()
        if "[slow]" in question:
            seconds = self._rng.choice((20.0, 100.0, 130.0, 400.0))
        return seconds

    def _fail(self, question: str) -> None:
        """What the outage or the question's mood demands."""
        if "model" in self._weather.away:
            raise TransientError("model is away", retry_after_seconds=2.0)
        if "[busy]" in question and self._rng.random() < 0.5:
            raise TransientError("429", retry_after_seconds=float(self._rng.choice((1, 30, 90))))
        if "[refused]" in question:
            raise RunFailed("model_rejected", "the model does not like it")
        if "[poison]" in question:
            raise RuntimeError("a planned bug, on every delivery")
