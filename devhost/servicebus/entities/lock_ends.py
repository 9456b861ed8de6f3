"""Finds the locks on messages that have expired. Entry point: `LockEnds.take_due`.

`queue.Queue` then counts a delivery of each message. Locks on sessions expire in
`sessions.SessionDesk.end_overdue`.
"""

from __future__ import annotations

from collections import deque

from devhost.servicebus.entities.backlog import Held, Lock


class LockEnds:
    """The locks of one queue. All last equally long, so they expire in the order of adding."""

    def __init__(self) -> None:
        self._ends: deque[tuple[int, Held, Lock]] = deque()

    def add(self, held: Held, lock: Lock) -> None:
        """Add a lock that is new or renewed."""
        self._drop_past()
        self._ends.append((lock.until_ms, held, lock))

    def take_due(self, now_ms: int) -> list[Held]:
        """Return the messages whose lock has expired, except those that are being settled."""
        due = []
        while self._ends and (self._ends[0][0] <= now_ms or not _is_current(self._ends[0])):
            end = self._ends.popleft()
            if _is_current(end) and not end[2].settling:
                due.append(end[1])
        return due

    @property
    def next_ms(self) -> int | None:
        """When the next lock ends; None when there is none."""
        return self._ends[0][0] if self._ends else None

    def _drop_past(self) -> None:
        while self._ends and not _is_current(self._ends[0]):
            self._ends.popleft()


def _is_current(end: tuple[int, Held, Lock]) -> bool:
    """Whether the message still has this lock with this end."""
    until_ms, held, lock = end
    return held.lock is lock and lock.until_ms == until_ms
