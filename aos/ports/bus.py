"""Sends commands, replies and events, and describes what a trigger received. Entry points: `Bus`,
`ReceivedMessage`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from aos.domain.bus_limits import is_bus_id
from aos.domain.envelope import Event, Outgoing, Reply

LARGEST_BODY_BYTES = 200 * 1024
"""The largest body of a message: Service Bus (Standard) accepts 256 KiB with all its properties."""
EXPIRY = "aos_expires_at"
"""The property of a postponed copy that holds the expiry of the first message."""
POSTPONED_FROM = "aos_postponed_from"
"""The property that marks a copy on `aos-main` as an event of the subscription."""
MAX_ATTEMPTS = 1_000_000
"""A sender can write the property `attempt` too; a number above this is not one of ours."""


class Bus(Protocol):
    """Sends commands between the apps, and replies and events to the outside."""

    async def send(self, outgoing: Outgoing) -> None:
        """Send a command, scheduled if it has a time. Its `message_id` is the `command_id`."""
        ...

    async def reply(self, reply: Reply) -> None:
        """Send a reply to its entity."""
        ...

    async def publish(self, event: Event) -> None:
        """Publish a CloudEvent, with the property `aos_app` set."""
        ...

    async def postpone(self, message: ReceivedMessage, *, at: datetime, attempt: int) -> None:
        """Send a scheduled copy of a received message with its session, properties, original key
        and expiry.

        The handler completes the original afterwards.
        """
        ...

    async def read_whole_body(self, message: ReceivedMessage) -> bytes:
        """Return the body of a command as it was sent, from storage if it was too large for the
        bus."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMessage:
    """A Service Bus message as a trigger received it: the body in bytes, properties from the
    broker.

    `key` is the idempotency key: the id of the first message, kept across postponed copies, else
    `<entity>:<sequence_number>`. `attempt` counts postponed copies. `enqueued_at` is a time that
    the broker's clock has reached: for a scheduled message not before the time that it was
    scheduled for. `lag` is how far our own clock was behind that when the message came.
    """

    entity: str
    body: bytes
    message_id: str | None
    sequence_number: int
    delivery_count: int = 1
    correlation_id: str | None = None
    session_id: str | None = None
    reply_to: str | None = None
    reply_to_session_id: str | None = None
    content_type: str | None = None
    enqueued_at: datetime | None = None
    lag: timedelta = timedelta()
    expires_at: datetime | None = None
    traceparent: str | None = None
    properties: Mapping[str, object] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The key that identifies repeats of this message."""
        kept = self.properties.get("aos_key")
        if isinstance(kept, str) and is_bus_id(kept):
            return kept
        return self.message_id or f"{self.entity}:{self.sequence_number}"

    def with_lag(self, now: datetime) -> ReceivedMessage:
        """Return the message, received at this time of our own clock."""
        if self.enqueued_at is None or self.enqueued_at <= now:
            return self
        return replace(self, lag=self.enqueued_at - now)

    @property
    def attempt(self) -> int:
        """The number of postponed copies before this one."""
        value = self.properties.get("attempt")
        if isinstance(value, int) and 0 <= value <= MAX_ATTEMPTS:
            return int(value)
        return 0
