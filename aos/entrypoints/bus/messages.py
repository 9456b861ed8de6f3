"""Reads the message that a trigger passes to a function. Entry point: `read_message`.

AOS parses the body itself. Properties come from the broker only.
"""

from __future__ import annotations

from datetime import UTC, datetime

import azure.functions as func

from aos.entrypoints.ids import parse_traceparent
from aos.ports.bus import EXPIRY, ReceivedMessage


class Unreadable(Exception):
    """A message that cannot be parsed. It is abandoned until the broker dead-letters it."""


def read_message(message: func.ServiceBusMessage, *, entity: str) -> ReceivedMessage:
    """Return the message for the services. `entity` is the queue that the trigger reads."""
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
        enqueued_at=_cut_to_milliseconds(_convert_to_utc(message.enqueued_time_utc)),
        expires_at=_find_expiry(_convert_to_utc(message.expires_at_utc), properties.get(EXPIRY)),
        traceparent=parse_traceparent(traceparent),
        properties=properties,
    )


def _find_expiry(of_copy: datetime | None, first: object) -> datetime | None:
    """Return the expiry of the first message, which a postponed copy keeps as a property. It can
    only be earlier than the copy's own."""
    if of_copy is None or not isinstance(first, str):
        return of_copy
    try:
        moment = _convert_to_utc(datetime.fromisoformat(first))
    except ValueError:
        return of_copy
    return of_copy if moment is None else min(of_copy, moment)


def _cut_to_milliseconds(moment: datetime | None) -> datetime | None:
    """Return the time in whole milliseconds, which rows can hold; the broker has finer ones."""
    return moment and moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _convert_to_utc(moment: datetime | None) -> datetime | None:
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=UTC)
