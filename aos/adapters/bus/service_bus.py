"""How do commands, replies and events reach Azure Service Bus?

`AzureBus` is the `Bus` on the unmodified `azure-servicebus` SDK: one client for one namespace, a
sender kept open for each entity (`warm` opens them ahead of the first message, side by side). The
SDK is loaded by the first call (0.3 to 0.6 s).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aos.adapters.bus.large_bodies import LargeBodies
from aos.adapters.bus.messages import (
    BusMessage,
    command_message,
    event_message,
    postponed_message,
    reply_message,
)
from aos.adapters.bus.shared_sender import Lane
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
    from azure.servicebus.aio import ServiceBusClient, ServiceBusSender

AUTH_SECONDS = 10.0
CHECK_SECONDS = 3.0
PROVEN_SECONDS = 600.0
PLAIN_PORT, TLS_PORT = 5672, 5671
_TOPICS = frozenset({AGENT_EVENTS, SYSTEM_EVENTS})
_NO_ADDRESS = (
    "no Service Bus: set AZURE_SERVICEBUS_CONNECTION_STRING, or with identity"
    " AZURE_SERVICEBUS_CONNECTION_STRING__fullyQualifiedNamespace"
)
_SASL_HEADER = b"AMQP\x03\x01\x00\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class BusAccount:
    """Which namespace: a connection string (`UseDevelopmentEmulator=true` for a local one), or
    `namespace` (the fully qualified name) by identity, `client_id` naming a user-assigned one."""

    connection_string: str | None = field(default=None, repr=False)
    namespace: str | None = None
    client_id: str | None = None


class AzureBus:
    """The way out of one app: a `Bus`."""

    def __init__(self, account: BusAccount, *, payloads: BlobStore) -> None:
        """`payloads`: the container aos-data, for what is larger than a bus message."""
        self._account = account
        self._large = LargeBodies(payloads)
        self._client: ServiceBusClient | None = None
        self._credential: Any = None
        self._lanes: dict[str, Lane] = {}
        self._proven_at: float | None = None

    async def send(self, outgoing: Outgoing) -> None:
        """Send a command, scheduled when it says so; message_id = its command_id."""
        name = outgoing.command.conversation_id
        await self._send(await self._large.sent(command_message(outgoing), conversation_id=name))

    async def reply(self, reply: Reply) -> None:
        """Send a reply to its entity."""
        await self._send(reply_message(reply))

    async def publish(self, event: Event) -> None:
        """Publish a CloudEvent, with the property `aos_app` set."""
        await self._send(event_message(event))

    async def postpone(self, message: ReceivedMessage, *, at: datetime, attempt: int) -> None:
        """Send a copy of a received message, scheduled, with session, properties, its original
        key and expiry; the original is then completed by its handler."""
        await self._send(postponed_message(message, at=at, attempt=attempt))

    async def whole_body(self, message: ReceivedMessage) -> bytes:
        """The body of a command as it was sent: one too large for the bus lies in storage."""
        return await self._large.received(message)

    async def warm(self, entities: Iterable[str]) -> None:
        """Load the SDK in a thread and open the senders of `entities` side by side.

        For an app that has nothing to send yet: what fails here is tried again by the first send.
        """
        await asyncio.to_thread(_load)
        results = await asyncio.gather(
            *(self._lane(entity).open() for entity in entities), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, TransientError):
                raise result

    async def check(self) -> None:
        """Raise TransientError when the bus is away (within 5 s) or refuses us.

        Access is proven by opening a sender, every ten minutes; in between the broker is only
        asked for its AMQP greeting, which a dead or frozen one does not give.
        """
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._greet()
                if self._proven_at is None or time.monotonic() - self._proven_at > PROVEN_SECONDS:
                    await self._lane(REALM_QUEUE).open()
                    self._proven_at = time.monotonic()
        except (OSError, EOFError, TimeoutError) as error:
            self._proven_at = None
            host, port, _ = self._address()
            why = type(error).__name__
            message = f"Service Bus gives no answer at {host}:{port} ({why})"
            raise TransientError(message) from error

    async def close(self) -> None:
        """Close all senders and the client; the next call opens others."""
        lanes, self._lanes = self._lanes, {}
        client, self._client = self._client, None
        credential, self._credential = self._credential, None
        await asyncio.gather(*(lane.close() for lane in lanes.values()))
        if client is not None:
            await client.close()
        if credential is not None:
            await credential.close()

    async def _send(self, message: BusMessage) -> None:
        await self._lane(message.entity).send(_sdk_message(message))

    def _lane(self, entity: str) -> Lane:
        lane = self._lanes.get(entity)
        if lane is None:
            lane = self._lanes[entity] = Lane(entity, lambda: self._make_sender(entity))
        return lane

    def _make_sender(self, entity: str) -> ServiceBusSender:
        if self._client is None:
            self._client = self._open_client()
        if entity in _TOPICS:
            return self._client.get_topic_sender(entity)
        return self._client.get_queue_sender(entity)

    def _open_client(self) -> ServiceBusClient:
        from azure.servicebus.aio import ServiceBusClient

        # Retries are the lane's: it replaces the sender, where the SDK would wait with the old one.
        options: dict[str, Any] = {"retry_total": 0, "auth_timeout": AUTH_SECONDS}
        account = self._account
        if account.connection_string:
            try:
                return ServiceBusClient.from_connection_string(account.connection_string, **options)
            except ValueError as error:
                message = f"AZURE_SERVICEBUS_CONNECTION_STRING is no connection string ({error})"
                raise ConfigurationError(message) from error
        if not account.namespace:
            raise ConfigurationError(_NO_ADDRESS)
        from azure.identity.aio import DefaultAzureCredential

        self._credential = DefaultAzureCredential(managed_identity_client_id=account.client_id)
        return ServiceBusClient(account.namespace, self._credential, **options)

    async def _greet(self) -> None:
        """Exchange AMQP protocol headers on a connection of its own."""
        host, port, tls = self._address()
        context = _tls() if tls else None
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
        try:
            writer.write(_SASL_HEADER)
            if not (await reader.readexactly(len(_SASL_HEADER))).startswith(b"AMQP"):
                raise ConnectionError("somebody else answers")
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _address(self) -> tuple[str, int, bool]:
        """Host, port, and whether TLS is spoken there; the SDK's own rules."""
        parts = _parts(self._account.connection_string or "")
        if not parts and not self._account.namespace:
            raise ConfigurationError(_NO_ADDRESS)
        endpoint = parts.get("endpoint", f"sb://{self._account.namespace}")
        address = endpoint.split("://", 1)[-1].strip("/")
        host, _, port = address.partition(":")
        if parts.get("usedevelopmentemulator", "").lower() == "true":
            return host, int(port or PLAIN_PORT), False
        return host, TLS_PORT, True


@functools.cache
def _tls() -> ssl.SSLContext:
    """Made once: reading the certificates takes tens of milliseconds."""
    return ssl.create_default_context()


def _parts(connection_string: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in connection_string.split(";") if part.strip())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _sdk_message(message: BusMessage) -> ServiceBusMessage:
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
