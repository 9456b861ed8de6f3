"""Converts messages of the broker in memory to those that triggers get. Entry point:
`make_trigger_message`."""

from __future__ import annotations

import azure.functions as func
from azure.functions.servicebus import ServiceBusMessage

from aos.ports.bus import ReceivedMessage


def make_trigger_message(message: ReceivedMessage) -> func.ServiceBusMessage:
    """Convert a message to the form in which the worker passes it to a function."""
    properties = dict(message.properties)
    if message.traceparent is not None:
        properties.setdefault("Diagnostic-Id", message.traceparent)
    return ServiceBusMessage(
        body=message.body,
        application_properties=properties,
        user_properties=properties,
        message_id=message.message_id or "",
        sequence_number=message.sequence_number,
        delivery_count=message.delivery_count,
        correlation_id=message.correlation_id,
        session_id=message.session_id,
        reply_to=message.reply_to,
        reply_to_session_id=message.reply_to_session_id,
        content_type=message.content_type,
        enqueued_time_utc=message.enqueued_at,
        expires_at_utc=message.expires_at,
    )


async def be_ready() -> None:
    """Return at once: in memory, everything an app waits for is imported already."""
