"""Looks into the dead-letter queues of Azure Service Bus. Entry point: `AzureDeadLetters`.

Service Bus gives one message by its sequence number only if it was deferred. So a message is read
by peeking, and removed by locking messages from the front until it is found, as Service Bus
Explorer does. The others are abandoned: their delivery counts rise, which has no effect in a
dead-letter queue. A dead-letter queue has no sessions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aos.adapters.bus.client import BusAccount, BusClient
from aos.adapters.bus.messages import BusMessage, build_replayed_message
from aos.errors import TransientError
from aos.ports.bus import ReceivedMessage
from aos.ports.dead_letters import DeadMessage

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusReceivedMessage
    from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver

CALL_SECONDS = 20.0
SEARCH_SECONDS = 40.0
"""Less than the time for which a message stays locked."""
BATCH = 50
MOST_SEARCHED = 1000
WAIT_SECONDS = 2.0
ASK_FOR_NOTHING = -1


class AzureDeadLetters:
    """The dead-letter queues of one namespace. Implements `DeadLetterQueues`."""

    def __init__(
        self, account: BusAccount, *, send: Callable[[BusMessage], Awaitable[None]]
    ) -> None:
        """`send` sends a message to a queue or a topic."""
        self._client = BusClient(account)
        self._send = send

    async def peek(self, entity: str, *, start: int, limit: int) -> list[DeadMessage]:
        """Return at most `limit` dead letters with sequence numbers from `start` on."""
        async with self._receiver(entity, seconds=CALL_SECONDS, asks=False) as receiver:
            found = await receiver.peek_messages(limit, sequence_number=max(start, 1))
        return [_read_dead(entity, message) for message in found]

    async def resend(self, dead: DeadMessage, *, message_id: str) -> None:
        """Send a copy to the entity, for a subscription to its topic."""
        await self._send(build_replayed_message(dead, message_id=message_id))

    async def remove(self, entity: str, sequence_number: int) -> bool:
        """Remove one dead letter among the first 1,000. Return False if it was not found."""
        async with self._receiver(entity, seconds=SEARCH_SECONDS) as receiver:
            passed: list[ServiceBusReceivedMessage] = []
            try:
                while len(passed) < MOST_SEARCHED:
                    batch = await receiver.receive_messages(BATCH, max_wait_time=WAIT_SECONDS)
                    wanted = [m for m in batch if m.sequence_number == sequence_number]
                    passed += [m for m in batch if m.sequence_number != sequence_number]
                    for message in wanted:
                        await receiver.complete_message(message)
                        return True
                    if not batch:
                        return False
                return False
            finally:
                await asyncio.gather(
                    *(receiver.abandon_message(message) for message in passed),
                    return_exceptions=True,
                )

    async def close(self) -> None:
        """Close the client. The next call opens another."""
        await self._client.close()

    @asynccontextmanager
    async def _receiver(
        self, entity: str, *, seconds: float, asks: bool = True
    ) -> AsyncIterator[ServiceBusReceiver]:
        """Open a receiver for one call, with a time limit; translate the SDK's errors.

        The SDK's receiver asks for one message as soon as it is open. A call that only peeks must
        not: the message would stay locked for a minute, and count as delivered once more.
        """
        from azure.core.exceptions import AzureError

        try:
            receiver = _make_receiver(self._client.open(), entity)
            if not asks:
                receiver._prefetch_count = ASK_FOR_NOTHING  # it asks for one more than this
            async with asyncio.timeout(seconds), receiver:
                yield receiver
        except (AzureError, OSError, TimeoutError, ValueError, AttributeError) as error:
            raise TransientError(
                f"the dead-letter queue of {entity!r} did not answer ({type(error).__name__});"
                " check GET /api/health and the app's role on it"
            ) from error


def _make_receiver(client: ServiceBusClient, entity: str) -> ServiceBusReceiver:
    from azure.servicebus import ServiceBusSubQueue

    topic, _, subscription = entity.partition("/Subscriptions/")
    dead = ServiceBusSubQueue.DEAD_LETTER
    if subscription:
        return client.get_subscription_receiver(topic, subscription, sub_queue=dead)
    return client.get_queue_receiver(entity, sub_queue=dead)


def _read_dead(entity: str, message: ServiceBusReceivedMessage) -> DeadMessage:
    properties = _read_properties(message.application_properties)
    traceparent = properties.get("traceparent")
    received = ReceivedMessage(
        entity=entity,
        body=_read_body(message),
        message_id=message.message_id,
        sequence_number=message.sequence_number or 0,
        delivery_count=message.delivery_count or 0,
        correlation_id=message.correlation_id,
        session_id=message.session_id,
        reply_to=message.reply_to,
        reply_to_session_id=message.reply_to_session_id,
        content_type=message.content_type,
        traceparent=traceparent if isinstance(traceparent, str) else None,
        properties=properties,
    )
    return DeadMessage(
        message=received,
        enqueued_at=message.enqueued_time_utc or datetime(1970, 1, 1, tzinfo=UTC),
        subject=message.subject,
        broker_reason=message.dead_letter_reason,
    )


def _read_body(message: ServiceBusReceivedMessage) -> bytes:
    """Return the body; a value or a sequence, which AOS never sends, is empty."""
    from azure.servicebus.amqp import AmqpMessageBodyType

    if message.body_type != AmqpMessageBodyType.DATA:
        return b""
    return b"".join(message.body)


def _read_properties(raw: Mapping[Any, Any] | None) -> dict[str, Any]:
    return {_read_text(name): _read_text(value) for name, value in (raw or {}).items()}


def _read_text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
