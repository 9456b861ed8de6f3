"""Counts the messages that wait in the bus's entities. Entry point: `QueueDepths`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from aos.domain.codec import OMITTED


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityDepth:
    """How many messages of a queue or subscription wait, are scheduled, and are dead letters.

    `error` says why there are no counts: this app may not read them, there is no such entity, or
    the bus did not answer in time.
    """

    entity: str
    active: int | None = None
    scheduled: int | None = None
    dead: int | None = None
    error: Literal["forbidden", "entity_not_found", "unavailable"] | None = field(
        default=None, metadata=OMITTED
    )


class QueueDepths(Protocol):
    """The administration interface of the bus, read only."""

    async def count(self, entity: str) -> EntityDepth:
        """Count the messages of a queue, or of `<topic>/Subscriptions/<subscription>`.

        Never raises for an answer of the bus; raises TransientError when it does not answer.
        """
        ...
