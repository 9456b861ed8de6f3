"""What time is it, and what comes by chance, on a real machine?"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from datetime import UTC, datetime


class SystemClock:
    """The machine's clock: a `Clock`."""

    def now(self) -> datetime:
        """The time in UTC in whole milliseconds, rounded down: what rows and wire can hold."""
        now = datetime.now(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class RandomIds:
    """Ids and jitter from the machine's randomness: an `Ids`."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def new_id(self) -> str:
        """A fresh UUID (version 4) in its text form."""
        return str(uuid.uuid4())

    def jitter(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()
