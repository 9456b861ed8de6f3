"""Fakes the clock, the ids and the telemetry. Entry points: `ManualClock`, `SeededIds`,
`MemoryTelemetry`.

Time moves only when a test advances it.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Literal

from aos.ports.telemetry import SpanKind

FIRST_MOMENT = datetime(2030, 1, 1, tzinfo=UTC)


class ManualClock:
    """A clock that moves only with `advance`, which wakes the sleepers in order."""

    def __init__(self, *, start: datetime = FIRST_MOMENT) -> None:
        self._start = start
        self._seconds = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def now(self) -> datetime:
        """Return the time in UTC."""
        return self._start + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        """Return the seconds since the start."""
        return self._seconds

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock is advanced that far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._seconds + seconds, next(self._numbers), waker))
        await waker

    @property
    def next_wake(self) -> float | None:
        """The seconds until the next sleeper wakes, or None if nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return max(0.0, self._sleepers[0][0] - self._seconds) if self._sleepers else None

    def set_back(self, seconds: float) -> None:
        """Correct a clock that was ahead. The monotonic clock does not change."""
        self._start -= timedelta(seconds=seconds)

    def advance(self, seconds: float) -> None:
        """Move the time forward and wake those whose sleep is over."""
        self._seconds += seconds
        while self._sleepers and self._sleepers[0][0] <= self._seconds:
            _, _, waker = heapq.heappop(self._sleepers)
            if not waker.done():
                waker.set_result(None)


class SeededIds:
    """Ids and jitter from a seed: the same seed gives the same ids."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def new_id(self) -> str:
        """Return a new UUID as text."""
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def jitter(self) -> float:
        """Return a number in [0, 1)."""
        return self._rng.random()


@dataclass(slots=True)
class MemorySpan:
    """A span that keeps its name and attributes."""

    name: str
    kind: SpanKind
    traceparent: str | None = None
    attributes: dict[str, object] = field(default_factory=dict)

    def set(self, **attributes: object) -> None:
        """Add attributes."""
        self.attributes.update(attributes)


class MemoryTelemetry:
    """Telemetry that keeps everything for tests to read."""

    def __init__(self) -> None:
        self.lines: list[dict[str, object]] = []
        self.custom_events: list[dict[str, object]] = []
        self.spans: list[MemorySpan] = []

    def log(
        self,
        event: str,
        *,
        level: Literal["debug", "info", "warning", "error"] = "info",
        **fields: object,
    ) -> None:
        """Keep one log line."""
        self.lines.append({"event": event, "level": level, **fields})

    def custom_event(self, name: str, **attributes: object) -> None:
        """Keep one row of customEvents."""
        self.custom_events.append({"name": name, **attributes})

    @contextlib.contextmanager
    def span(
        self, name: str, *, kind: SpanKind, traceparent: str | None = None, **attributes: object
    ) -> Iterator[MemorySpan]:
        """Keep one span."""
        span = MemorySpan(name, kind, traceparent, dict(attributes))
        self.spans.append(span)
        yield span
