"""Tells the time and waits. Entry point: `Clock`."""

from __future__ import annotations

import time


class Clock:
    """The clock of the machine. Tests replace it with one that does not wait."""

    def now(self) -> str:
        """The time in UTC, such as 2026-02-13T10:00:00Z."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    def seconds(self) -> float:
        """Seconds of a monotonic clock, for deadlines."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
