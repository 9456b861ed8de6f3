"""Gives the machine's time, ids and randomness. Entry points: `SystemClock`, `RandomIds`."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from datetime import UTC, datetime


class SystemClock:
    """The machine's clock. Implements `Clock`."""

    def now(self) -> datetime:
        """Return the UTC time rounded down to milliseconds, which rows and messages can hold."""
        now = datetime.now(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def monotonic(self) -> float:
        """Return the seconds of a clock that never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for this many seconds."""
        await asyncio.sleep(seconds)


class RandomIds:
    """Random ids and jitter. Implements `Ids`."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def new_id(self) -> str:
        """Return a new UUID (version 4) as text."""
        return str(uuid.uuid4())

    def jitter(self) -> float:
        """Return a number in [0, 1)."""
        return self._random.random()
