"""Sends commands, replies and events to Azure Service Bus. Entry point: `AzureBus`.

`AzureBus` uses the unmodified `azure-servicebus` SDK with one client for one namespace and one open
sender for each entity. `warm` opens the senders before the first message. The first call imports
the SDK (0.3 to 0.6 s).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
import time
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from aos.adapters.bus.client import NO_ADDRESS, BusAccount, BusClient
from aos.adapters.bus.large_bodies import LargeBodies
from aos.adapters.bus.messages import (
    BusMessage,
    build_command_message,
    build_event_message,
    build_postponed_message,
    build_reply_message,
    fit_message,
)
from aos.adapters.bus.shared_sender import SharedSender
from aos.domain.envelope import (
    AGENT_EVENTS,
    REALM_QUEUE,
    SYSTEM_EVENTS,
    Event,
    Outgoing,
    Reply,
)
from aos.errors import ConfigurationError, TransientError
from aos.ports.blobs import BlobStore
from aos.ports.bus import ReceivedMessage

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusMessage
    from azure.servicebus.aio import ServiceBusSender

CHECK_SECONDS = 3.0
PROVEN_SECONDS = 600.0
PLAIN_PORT, TLS_PORT = 5672, 5671
_TOPICS = frozenset({AGENT_EVENTS, SYSTEM_EVENTS})
_SASL_HEADER = b"AMQP\x03\x01\x00\x00"


class AzureBus:
    """Sends the messages of one app. Implements `Bus`."""

    def __init__(self, account: BusAccount, *, payloads: BlobStore) -> None:
        """`payloads` is the container aos-data, which keeps bodies that are too large for the
        bus."""
        self._account = account
        self._large = LargeBodies(payloads)
        self._client = BusClient(account)
        self._senders: dict[str, SharedSender] = {}
        self._proven_at: float | None = None

    async def send(self, outgoing: Outgoing) -> None:
        """Send a command, scheduled if it has a time. Its `message_id` is the `command_id`."""
        message = build_command_message(outgoing)
        await self.send_message(
            await self._large.store_large(message, run_id=outgoing.command.run_id)
        )

    async def reply(self, reply: Reply) -> None:
        """Send a reply to its entity."""
        await self.send_message(build_reply_message(reply))

    async def publish(self, event: Event) -> None:
        """Publish a CloudEvent, with the property `aos_app` set."""
        await self.send_message(build_event_message(event))

    async def postpone(self, message: ReceivedMessage, *, at: datetime, attempt: int) -> None:
        """Send a scheduled copy of a received message with its session, properties, original key
        and expiry.

        The handler completes the original afterwards.
        """
        await self.send_message(build_postponed_message(message, at=at, attempt=attempt))

    async def read_whole_body(self, message: ReceivedMessage) -> bytes:
        """Return the body of a command as it was sent, from storage if it was too large for the
        bus."""
        return await self._large.read_body(message)

    async def warm(self, entities: Iterable[str]) -> None:
        """Import the SDK in a thread and open the senders of `entities` in parallel.

        An app calls this at its start. If it fails, the first send tries again.
        """
        await asyncio.to_thread(_load)
        results = await asyncio.gather(
            *(self._get_sender(entity).open() for entity in entities), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, TransientError):
                raise result

    async def check(self) -> None:
        """Raise TransientError if the bus does not answer within 5 s or refuses access.

        Access is checked every ten minutes by opening a sender. In between, only the AMQP greeting
        of the broker is requested, because a dead or frozen broker does not send it.
        """
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._exchange_greeting()
                if self._proven_at is None or time.monotonic() - self._proven_at > PROVEN_SECONDS:
                    await self._get_sender(REALM_QUEUE).open()
                    self._proven_at = time.monotonic()
        except (OSError, EOFError, TimeoutError) as error:
            self._proven_at = None
            host, port, _ = self._find_address()
            why = type(error).__name__
            message = f"Service Bus does not answer at {host}:{port} ({why})"
            raise TransientError(message) from error

    async def close(self) -> None:
        """Close all senders and the client. The next call opens others."""
        senders, self._senders = self._senders, {}
        await asyncio.gather(*(sender.close() for sender in senders.values()))
        await self._client.close()

    async def send_message(self, message: BusMessage) -> None:
        """Send a message of any kind to its queue or topic."""
        sender = self._get_sender(message.entity)
        await sender.send(_build_sdk_message(fit_message(message)))

    def _get_sender(self, entity: str) -> SharedSender:
        sender = self._senders.get(entity)
        if sender is None:
            sender = self._senders[entity] = SharedSender(entity, lambda: self._make_sender(entity))
        return sender

    def _make_sender(self, entity: str) -> ServiceBusSender:
        # `SharedSender` retries: it replaces the sender, while the SDK would wait with the old one.
        client = self._client.open()
        if entity in _TOPICS:
            return client.get_topic_sender(entity)
        return client.get_queue_sender(entity)

    async def _exchange_greeting(self) -> None:
        """Exchange AMQP protocol headers on a separate connection."""
        host, port, tls = self._find_address()
        context = _make_tls_context() if tls else None
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
        try:
            writer.write(_SASL_HEADER)
            if not (await reader.readexactly(len(_SASL_HEADER))).startswith(b"AMQP"):
                raise ConnectionError("another program answers")
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _find_address(self) -> tuple[str, int, bool]:
        """Return host, port, and whether TLS is used there, by the rules of the SDK."""
        parts = _split_connection_string(self._account.connection_string or "")
        if not parts and not self._account.namespace:
            raise ConfigurationError(NO_ADDRESS)
        endpoint = parts.get("endpoint", f"sb://{self._account.namespace}")
        address = endpoint.split("://", 1)[-1].strip("/")
        host, _, port = address.partition(":")
        if parts.get("usedevelopmentemulator", "").lower() == "true":
            return host, int(port or PLAIN_PORT), False
        return host, TLS_PORT, True


@functools.cache
def _make_tls_context() -> ssl.SSLContext:
    """Make the TLS context once, because reading the certificates takes tens of milliseconds."""
    return ssl.create_default_context()


def _split_connection_string(connection_string: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in connection_string.split(";") if part.strip())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _build_sdk_message(message: BusMessage) -> ServiceBusMessage:
    from azure.servicebus import ServiceBusMessage

    return ServiceBusMessage(
        message.body,
        message_id=message.message_id,
        content_type=message.content_type,
        subject=message.subject,
        correlation_id=message.correlation_id,
        session_id=message.session_id,
        reply_to=message.reply_to,
        reply_to_session_id=message.reply_to_session_id,
        scheduled_enqueue_time_utc=message.scheduled_at,
        time_to_live=message.time_to_live,
        application_properties=dict(message.properties),  # type: ignore[arg-type]
    )


def _load() -> None:
    import azure.servicebus.aio  # noqa: F401
