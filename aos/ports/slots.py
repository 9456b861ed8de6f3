"""Keeps which run a conversation has admitted. Entry point: `ConversationSlots`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The place of one run in a conversation that takes one run at a time.

    `etag` is None on a slot that was not read from the store.
    """

    conversation_id: str
    run_id: str
    taken_at: datetime
    etag: str | None = None


class ConversationSlots(Protocol):
    """The slots, rows `busy` of the table `aosruns`: one for each conversation of an agent with
    `on_busy: reject`."""

    async def find(self, conversation_id: str) -> Slot | None:
        """Return the conversation's slot, or None."""
        ...

    async def take(self, slot: Slot, *, over: Slot | None) -> None:
        """Write the slot in the place of `over` (None: no slot exists).

        Raises StaleWrite if another run took it meanwhile, and OutcomeUnknown if the answer was
        lost: read the slot next.
        """
        ...
