"""What time is it, and how long is a wait?"""

from __future__ import annotations

import time


class Clock:
    """The clock of the machine. Tests bring one whose waits take no time."""

    def now(self) -> str:
        """The time in UTC, as 2026-02-13T10:00:00Z."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    def seconds(self) -> float:
        """Seconds that only grow, for deadlines."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
