"""Defines what a caller adds to a conversation without asking. Entry point: `AddedItems`.

Only realm writes conversations, and only when a run starts. So what is added waits beside the
conversation until its next response takes it as that run's history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias

from aos.domain.codec import OMITTED

AddedRole: TypeAlias = Literal["user", "assistant", "system"]
"""`system`: instructions for the response that takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedItem:
    """A message that waits; `parts` are its images and files."""

    item_id: str
    role: AddedRole
    content: str
    parts: tuple[dict[str, Any], ...] = field(default=(), metadata=OMITTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The first `count` items are those of a run that is being admitted since `at`."""

    run_id: str
    count: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedItems:
    """What waits at a conversation, oldest first, and the metadata that its owner gave it.

    `etag` is None on a value that was not read.
    """

    conversation_id: str
    owner: str
    changed_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)
    items: tuple[AddedItem, ...] = ()
    taken: Taken | None = field(default=None, metadata=OMITTED)
    etag: str | None = None

    def leave_out(self, item_id: str) -> AddedItems:
        """This without an item, also where a run is taking it."""
        places = [place for place, item in enumerate(self.items) if item.item_id == item_id]
        kept = tuple(item for item in self.items if item.item_id != item_id)
        taken = self.taken
        if taken is not None:
            less = sum(place < taken.count for place in places)
            taken = replace(taken, count=taken.count - less)
        return replace(self, items=kept, taken=taken)

    def drop_taken(self) -> AddedItems:
        """This without the items that a run has taken."""
        count = 0 if self.taken is None else self.taken.count
        return replace(self, items=self.items[count:], taken=None)
