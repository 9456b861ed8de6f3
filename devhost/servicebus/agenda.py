"""Runs actions when they are due. Entry point: `Agenda.at`.

One list for the whole Service Bus: locks that end, messages that expire or are enqueued later. The
server's event loop runs it by the wall clock, a test by a clock of its own.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable

Action = Callable[[], None]


def wall_clock_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Agenda:
    """Actions by their time. None is ever removed: an action checks whether it still applies."""

    def __init__(self, *, now_ms: Callable[[], int] = wall_clock_ms) -> None:
        self.now_ms = now_ms
        self.on_earlier: Callable[[int], None] = lambda due_ms: None
        """Called when something becomes the first thing due."""
        self._heap: list[tuple[int, int, Action]] = []
        self._order = itertools.count()

    def at(self, due_ms: int, action: Action) -> None:
        """Run `action` at `due_ms` or soon after."""
        heapq.heappush(self._heap, (due_ms, next(self._order), action))
        if self._heap[0][0] == due_ms:
            self.on_earlier(due_ms)

    @property
    def next_due_ms(self) -> int | None:
        """When the first action is due; None when there is none."""
        return self._heap[0][0] if self._heap else None

    def run_due(self) -> None:
        """Run the actions that are due now, in order of time; not those that they add."""
        now_ms, end = self.now_ms(), next(self._order)
        while self._heap and self._heap[0][0] <= now_ms:
            if self._heap[0][1] > end:
                return
            heapq.heappop(self._heap)[2]()
