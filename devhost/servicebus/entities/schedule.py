"""Holds messages that are enqueued later. Entry point: `Schedule.take_due`."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from devhost.servicebus.entities.message import Message
from devhost.servicebus.entities.records import Journal, MessageRemoved
from devhost.servicebus.errors import MESSAGE_NOT_FOUND, BusError

_SLACK = 64
"""Entries of cancelled messages that may stay before the heap is rebuilt."""


class Schedule:
    """Scheduled messages by sequence number, and by their time."""

    def __init__(self) -> None:
        self.messages: dict[int, Message] = {}
        self._heap: list[tuple[int, int]] = []

    def add(self, message: Message) -> None:
        """Add a message, due at its `due_ms`."""
        self.messages[message.sequence] = message
        heapq.heappush(self._heap, (message.due_ms or 0, message.sequence))

    def remove(self, sequence: int) -> None:
        """Remove a message, if it is there."""
        self.messages.pop(sequence, None)
        if len(self._heap) > 2 * len(self.messages) + _SLACK:
            self._heap = [(m.due_ms or 0, m.sequence) for m in self.messages.values()]
            heapq.heapify(self._heap)

    def take_due(self, now_ms: int) -> list[Message]:
        """Remove and return the messages that are due, earliest first."""
        due = []
        while self._heap and self._heap[0][0] <= now_ms:
            message = self.messages.pop(heapq.heappop(self._heap)[1], None)
            if message is not None:
                due.append(message)
        return due

    @property
    def next_due_ms(self) -> int | None:
        """When the next message is due; None when nothing is scheduled."""
        return self._heap[0][0] if self._heap else None


def cancel_scheduled(
    path: str, schedule: Schedule, sequences: Sequence[int], journal: Journal
) -> None:
    """Remove messages from an entity's schedule, all or none. Raises BusError."""
    missing = [number for number in sequences if number not in schedule.messages]
    if missing:
        raise BusError(MESSAGE_NOT_FOUND, f"No scheduled message has the number {missing[0]}.")
    for number in sequences:
        journal.write(MessageRemoved(path, number))

    def cancelled(stored: bool) -> None:
        for number in sequences if stored else ():
            schedule.remove(number)

    journal.after(cancelled)
