"""Sends commands, replies and events to a `MemoryBroker`. Entry point: `MemoryBus`.

It implements `Bus` and sends the same messages as the real bus.
"""

from __future__ import annotations

from datetime import datetime

from aos.adapters.bus.messages import read_agent_and_trace
from aos.adapters.memory.broker import MemoryBroker
from aos.adapters.memory.interception import Interceptor, pass_through
from aos.domain.codec import encode
from aos.domain.envelope import Event, Outgoing, Reply
from aos.domain.json_writer import write_json
from aos.domain.wire_time import to_wire_time
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
        command = outgoing.command
        body = write_json(encode(command)).encode()

        def act() -> None:
            self._broker.send(
                outgoing.queue,
                body,
                message_id=command.command_id,
                scheduled_at=outgoing.scheduled_at,
                session_id=outgoing.session_id,
                content_type="application/json",
                traceparent=read_agent_and_trace(command)[1],
                properties={"run_id": command.run_id},
            )

        await self._intercept("bus.send", command.command_id, act)

    async def reply(self, reply: Reply) -> None:
        """Send a reply to its entity."""
        body = write_json(reply.body).encode()

        def act() -> None:
            self._broker.send(
                reply.entity,
                body,
                message_id=reply.message_id,
                correlation_id=reply.correlation_id,
                session_id=reply.session_id,
                traceparent=reply.traceparent,
                content_type="application/json",
            )

        await self._intercept("bus.reply", reply.message_id, act)

    async def publish(self, event: Event) -> None:
        """Publish a CloudEvent, with the property `aos_app` set."""
        body = write_json(_write_cloud_event(event)).encode()

        def act() -> None:
            self._broker.send(
                event.topic,
                body,
                message_id=event.id,
                traceparent=event.traceparent,
                content_type="application/cloudevents+json",
                properties={"aos_app": "aos"},
            )

        await self._intercept("bus.publish", event.id, act)

    async def postpone(self, message: ReceivedMessage, *, at: datetime, attempt: int) -> None:
        """Send a scheduled copy with session, properties, original key and expiry."""
        left = None if message.expires_at is None else (message.expires_at - at).total_seconds()

        def act() -> None:
            self._broker.send(
                message.entity,
                message.body,
                message_id=message.message_id,
                scheduled_at=at,
                ttl_seconds=None if left is None else max(left, 1.0),
                session_id=message.session_id,
                correlation_id=message.correlation_id,
                reply_to=message.reply_to,
                reply_to_session_id=message.reply_to_session_id,
                content_type=message.content_type,
                traceparent=message.traceparent,
                properties={**message.properties, "attempt": attempt, "aos_key": message.key},
            )

        await self._intercept("bus.postpone", message.key, act)

    async def read_whole_body(self, message: ReceivedMessage) -> bytes:
        """Return the body. No body is too large for the broker in memory."""
        return message.body


def _write_cloud_event(event: Event) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "time": to_wire_time(event.time),
        "datacontenttype": "application/json",
        "data": event.data,
    }
