"""What did the trigger hand over?

The body is ours to parse; properties come from the broker alone.
"""

from __future__ import annotations

from datetime import UTC, datetime

import azure.functions as func

from aos.entrypoints.tracing import read_traceparent
from aos.ports.bus import ReceivedMessage


class Unreadable(Exception):
    """A message that cannot be parsed: it is abandoned until the broker dead-letters it."""


def received(message: func.ServiceBusMessage, *, entity: str) -> ReceivedMessage:
    """The message as the services know it; `entity` is the queue that the trigger reads."""
    properties = dict(message.application_properties or {})
    traceparent = properties.get("traceparent") or properties.get("Diagnostic-Id")
    return ReceivedMessage(
        entity=entity,
        body=message.get_body(),
        message_id=message.message_id or None,
        sequence_number=message.sequence_number or 0,
        delivery_count=message.delivery_count or 1,
        correlation_id=message.correlation_id or None,
        session_id=message.session_id or None,
        reply_to=message.reply_to or None,
        reply_to_session_id=message.reply_to_session_id or None,
        content_type=message.content_type or None,
        expires_at=_utc(message.expires_at_utc),
        traceparent=read_traceparent(traceparent),
        properties=properties,
    )


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=UTC)
