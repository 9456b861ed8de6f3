"""Gives services time and randomness, so that tests and the simulation own them. Entry points:
`Clock`, `Ids`."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time. As a port, so that tests and the simulation control it."""

    def now(self) -> datetime:
        """Return the UTC time, timezone-aware, in whole milliseconds, which rows and messages can
        hold."""
        ...

    def monotonic(self) -> float:
        """Return the seconds of a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for this many seconds."""
        ...


class Ids(Protocol):
    """Randomness. As a port, so that tests and the simulation control it."""

    def new_id(self) -> str:
        """Return a new UUID as text."""
        ...

    def jitter(self) -> float:
        """Return a number in [0, 1)."""
        ...
