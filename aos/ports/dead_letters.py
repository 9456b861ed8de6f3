"""Looks into dead-letter queues, and keeps why messages were given up. Entry points:
`DeadLetterQueues`, `FailureStore`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from aos.domain.dead_letters import Failure
from aos.ports.bus import ReceivedMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadMessage:
    """A message in a dead-letter queue; `broker_reason` is the broker's."""

    message: ReceivedMessage
    enqueued_at: datetime
    subject: str | None = None
    broker_reason: str | None = None


class DeadLetterQueues(Protocol):
    """The dead-letter queues of AOS's entities, and the storage queue `aos-jobs-poison`.

    All methods raise TransientError when the broker is away.
    """

    async def peek(self, entity: str, *, start: int, limit: int) -> list[DeadMessage]:
        """Return at most `limit` dead letters with sequence numbers from `start` on, ordered.

        It may return fewer; only an empty list says that there are no more.
        """
        ...

    async def resend(self, dead: DeadMessage, *, message_id: str) -> None:
        """Send a copy to the dead letter's entity, with its properties, key and session.

        The copy of a subscription's dead letter goes to the topic.
        """
        ...

    async def remove(self, entity: str, sequence_number: int) -> bool:
        """Remove one dead letter. Return False if it was not found behind the first ones."""
        ...


class FailureStore(Protocol):
    """The table `aosfailures`: why messages were given up, by entity and sequence number."""

    async def list(self, entity: str, *, first: int, last: int | None) -> list[Failure]:
        """Return the rows with sequence numbers from `first` to `last` (None: no end), ordered."""
        ...

    async def put(self, failure: Failure) -> None:
        """Write the row, whether or not it exists."""
        ...

    async def drop(self, entity: str, sequence_number: int) -> None:
        """Delete the row if it exists."""
        ...
