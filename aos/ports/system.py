"""Gives services time and randomness, so that tests and the simulation own them. Entry points:
`Clock`, `Ids`."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time, as a port so that tests and the simulation own it."""

    def now(self) -> datetime:
        """The time in UTC, timezone-aware, in whole milliseconds: what rows and wire can hold."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Ids(Protocol):
    """Randomness, as a port so that tests and the simulation own it."""

    def new_id(self) -> str:
        """A fresh UUID in its text form."""
        ...

    def jitter(self) -> float:
        """A number in [0, 1)."""
        ...
