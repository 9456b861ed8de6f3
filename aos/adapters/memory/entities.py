"""Defines the contents of a Service Bus namespace in memory. Entry points: `EntityRules`, `Kept`,
`Session`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from aos.domain.envelope import (
    AGENT_EVENTS,
    MAIN_QUEUE,
    MCP_QUEUE,
    REALM_QUEUE,
    REQUESTS_QUEUE,
    RESPONSES_QUEUE,
    SYSTEM_EVENTS,
    WAKE_SUBSCRIPTION,
)
from aos.ports.bus import ReceivedMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityRules:
    """The rules of one entity, times in seconds. A zero disables duplicate detection."""

    sessions: bool = False
    duplicate_seconds: float = 0.0
    lock_seconds: float = 60.0
    max_delivery_count: int = 10
    ttl_seconds: float = 14 * 86400.0
    dead_letter_on_expiry: bool = True


RULES: Mapping[str, EntityRules] = {
    REQUESTS_QUEUE: EntityRules(),
    RESPONSES_QUEUE: EntityRules(duplicate_seconds=600.0, dead_letter_on_expiry=False),
    MAIN_QUEUE: EntityRules(),
    MCP_QUEUE: EntityRules(),
    REALM_QUEUE: EntityRules(sessions=True),
    AGENT_EVENTS: EntityRules(ttl_seconds=86400.0, dead_letter_on_expiry=False),
    WAKE_SUBSCRIPTION: EntityRules(ttl_seconds=86400.0, dead_letter_on_expiry=False),
    SYSTEM_EVENTS: EntityRules(ttl_seconds=86400.0, dead_letter_on_expiry=False),
}


@dataclass(slots=True, kw_only=True)
class Kept:
    """A message in an entity. `lock` is the token of its lock, which holds until `locked_until`."""

    entity: str
    sequence_number: int
    body: bytes
    message_id: str | None
    enqueued_at: datetime
    visible_at: datetime
    expires_at: datetime
    session_id: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    reply_to_session_id: str | None = None
    content_type: str | None = None
    subject: str | None = None
    traceparent: str | None = None
    properties: Mapping[str, object] = field(default_factory=dict)
    deliveries: int = 0
    lock: int | None = None
    locked_until: datetime | None = None
    reason: str | None = None

    def build_received(self) -> ReceivedMessage:
        """Build the message as a trigger receives it."""
        return ReceivedMessage(
            entity=self.entity,
            body=self.body,
            message_id=self.message_id,
            sequence_number=self.sequence_number,
            delivery_count=self.deliveries,
            correlation_id=self.correlation_id,
            session_id=self.session_id,
            reply_to=self.reply_to,
            reply_to_session_id=self.reply_to_session_id,
            content_type=self.content_type,
            enqueued_at=self.visible_at,
            expires_at=self.expires_at,
            traceparent=self.traceparent,
            properties=self.properties,
        )


@dataclass(slots=True)
class Session:
    """The lock on one session of a queue."""

    entity: str
    session_id: str
    lock: int
    locked_until: datetime
