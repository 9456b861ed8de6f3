"""Which locks on messages end when?"""

from __future__ import annotations

from collections import deque

from devhost.servicebus.entities.backlog import Held, Lock


class LockEnds:
    """The locks of one queue. They last equally long, so their ends come in order."""

    def __init__(self) -> None:
        self._ends: deque[tuple[int, Held, Lock]] = deque()

    def add(self, held: Held, lock: Lock) -> None:
        """A lock is new, or was renewed."""
        self._drop_past()
        self._ends.append((lock.until_ms, held, lock))

    def take_due(self, now_ms: int) -> list[Held]:
        """The messages whose lock ends now; not those whose settlement is on its way to disk."""
        due = []
        while self._ends and (self._ends[0][0] <= now_ms or not _holds(self._ends[0])):
            end = self._ends.popleft()
            if _holds(end) and not end[2].settling:
                due.append(end[1])
        return due

    @property
    def next_ms(self) -> int | None:
        """When to look again; None when there is no lock."""
        return self._ends[0][0] if self._ends else None

    def _drop_past(self) -> None:
        while self._ends and not _holds(self._ends[0]):
            self._ends.popleft()


def _holds(end: tuple[int, Held, Lock]) -> bool:
    """Whether this is still the lock on the message, and still its end."""
    until_ms, held, lock = end
    return held.lock is lock and lock.until_ms == until_ms
