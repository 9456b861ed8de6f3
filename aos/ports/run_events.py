"""Keeps the events of runs. Entry point: `RunEventStore`."""

from __future__ import annotations

from typing import Protocol

from aos.domain.runs.run_events import EventId, EventRow


class RunEventStore(Protocol):
    """The events of runs, in the partitions of their conversations, table `aosconversations`.

    Saved events are written by `ConversationStore.save`, in the transaction of what they tell.
    """

    async def read(
        self, conversation_id: str, run_id: str, *, after: EventId, limit: int
    ) -> list[EventRow]:
        """Return at most `limit` rows whose last event comes after `after`, in the order of ids.

        The first row may begin with events that do not. One call.
        """
        ...

    async def add(self, conversation_id: str, row: EventRow, *, new: bool = False) -> None:
        """Write provisional events, whether or not the row exists. One call.

        With `new` it must not exist: raises StaleWrite.
        """
        ...

    async def remove_provisional(self, conversation_id: str, run_id: str, *, limit: int) -> int:
        """Delete at most `limit` rows of provisional events; return how many there were."""
        ...
