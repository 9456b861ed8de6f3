"""Sends commands, replies and events to a `MemoryBroker`. Entry point: `MemoryBus`.

It implements `Bus` and sends the same messages as the real bus.
"""

from __future__ import annotations

from datetime import datetime

from aos.adapters.bus.messages import (
    LONGEST_TTL,
    BusMessage,
    build_command_message,
    build_event_message,
    build_postponed_message,
    build_reply_message,
    fit_message,
)
from aos.adapters.memory.broker import MemoryBroker
from aos.adapters.memory.interception import Interceptor, pass_through
from aos.domain.envelope import Event, Outgoing, Reply
from aos.ports.bus import ReceivedMessage
from aos.ports.system import Clock


class MemoryBus:
    """The bus of one app instance."""

    def __init__(
        self, broker: MemoryBroker, *, clock: Clock, intercept: Interceptor = pass_through
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._intercept = intercept

    async def send(self, outgoing: Outgoing) -> None:
        """Send a command, scheduled if it has a time."""
        await self._send("bus.send", build_command_message(outgoing))

    async def reply(self, reply: Reply) -> None:
        """Send a reply to its entity."""
        await self._send("bus.reply", build_reply_message(reply))

    async def publish(self, event: Event) -> None:
        """Publish a CloudEvent, with the property `aos_app` set."""
        await self._send("bus.publish", build_event_message(event))

    async def postpone(self, message: ReceivedMessage, *, at: datetime, attempt: int) -> None:
        """Send a scheduled copy with session, properties, original key and expiry."""
        copy = build_postponed_message(message, at=at, attempt=attempt)
        await self._send("bus.postpone", copy, name=message.key)

    async def read_whole_body(self, message: ReceivedMessage) -> bytes:
        """Return the body. No body is too large for the broker in memory."""
        return message.body

    async def send_message(self, message: BusMessage) -> None:
        """Send a message of any kind."""
        await self._send("bus.resend", message)

    async def _send(self, operation: str, message: BusMessage, *, name: str = "") -> None:
        fitted = fit_message(message)
        ttl = fitted.time_to_live
        if ttl is not None and ttl > LONGEST_TTL:
            raise ValueError(f"AMQP has no room for a time to live of {ttl}")

        def act() -> None:
            self._broker.send(
                fitted.entity,
                fitted.body,
                message_id=fitted.message_id,
                scheduled_at=fitted.scheduled_at,
                ttl_seconds=None if ttl is None else ttl.total_seconds(),
                session_id=fitted.session_id,
                correlation_id=fitted.correlation_id,
                reply_to=fitted.reply_to,
                reply_to_session_id=fitted.reply_to_session_id,
                content_type=fitted.content_type,
                subject=fitted.subject,
                traceparent=fitted.properties.get("traceparent"),
                properties=fitted.properties,
            )

        await self._intercept(operation, name or fitted.message_id or "", act)
