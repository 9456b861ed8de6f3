"""Looks into the storage queue `aos-jobs-poison`. Entry point: `AzurePoisonQueue`.

The Functions host moves a message of `aos-jobs` that failed five times to this queue, which it
makes then. A storage queue shows its first 32 messages only and numbers none: a message's number is
made of its id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aos.adapters.storage_queues import QueueAccount, open_queue
from aos.domain.dead_letters import JOBS_QUEUE, POISON_QUEUE
from aos.errors import TransientError
from aos.ports.bus import ReceivedMessage
from aos.ports.dead_letters import DeadMessage

if TYPE_CHECKING:
    from azure.storage.queue import QueueMessage
    from azure.storage.queue.aio import QueueClient

SHOWN = 32
"""The most messages that a storage queue shows."""
HIDDEN_SECONDS = 10
"""The time for which a search hides the messages that it passes."""
NUMBER_DIGITS = 12
"""Hex digits of a message's id in its number, so that JavaScript reads it exactly."""


class AzurePoisonQueue:
    """The poison queue of one account. Implements `DeadLetterQueues` for that entity."""

    def __init__(self, account: QueueAccount) -> None:
        self._account = account

    async def peek(self, entity: str, *, start: int, limit: int) -> list[DeadMessage]:
        """Return at most `limit` of the first 32 messages, by their numbers from `start` on."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            async with self._queue(POISON_QUEUE) as queue:
                found = [_read_dead(message) for message in await queue.peek_messages(SHOWN)]
        except ResourceNotFoundError:
            return []
        found.sort(key=lambda dead: dead.message.sequence_number)
        return [dead for dead in found if dead.message.sequence_number >= start][:limit]

    async def resend(self, dead: DeadMessage, *, message_id: str) -> None:
        """Put the message on `aos-jobs` again. Storage gives it a new id."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            async with self._queue(JOBS_QUEUE) as queue:
                await queue.send_message(dead.message.body.decode("utf-8"))
        except ResourceNotFoundError as error:
            raise TransientError(f"the storage queue {JOBS_QUEUE!r} does not exist") from error

    async def remove(self, entity: str, sequence_number: int) -> bool:
        """Delete one of the first 32 messages. The others are hidden for a moment."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return await self._remove(sequence_number)
        except ResourceNotFoundError:
            return False

    async def _remove(self, sequence_number: int) -> bool:
        async with self._queue(POISON_QUEUE) as queue:
            pages = queue.receive_messages(
                messages_per_page=SHOWN, max_messages=SHOWN, visibility_timeout=HIDDEN_SECONDS
            )
            received = [message async for message in pages]
            found = False
            for message in received:
                if _make_number(message.id) == sequence_number:
                    await queue.delete_message(message)
                    found = True
                else:
                    await queue.update_message(message, visibility_timeout=0)
        return found

    @asynccontextmanager
    async def _queue(self, name: str) -> AsyncIterator[QueueClient]:
        """Open a client for one call and translate the SDK's errors, but for a missing queue."""
        from azure.core.exceptions import AzureError, ResourceNotFoundError

        try:
            opened = open_queue(self._account, name)
            try:
                yield opened.client
            finally:
                await opened.close()
        except ResourceNotFoundError:
            raise
        except AzureError as error:
            raise TransientError(
                f"the storage queue {name!r} did not answer ({type(error).__name__})"
            ) from error


def _read_dead(message: QueueMessage) -> DeadMessage:
    content = message.content
    received = ReceivedMessage(
        entity=POISON_QUEUE,
        body=content if isinstance(content, bytes) else str(content).encode(),
        message_id=message.id,
        sequence_number=_make_number(message.id),
        delivery_count=message.dequeue_count or 0,
    )
    enqueued_at = message.inserted_on or datetime(1970, 1, 1, tzinfo=UTC)
    return DeadMessage(message=received, enqueued_at=enqueued_at, broker_reason=POISONED)


POISONED = "MaxDeliveryCountExceeded"
"""The reason of every poison message, in the words of Service Bus."""


def _make_number(message_id: str) -> int:
    return int(message_id.replace("-", "")[:NUMBER_DIGITS], 16)
