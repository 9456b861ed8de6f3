"""Encodes deliveries, decodes sent messages and outcomes. Entry points: `encode_delivery`,
`read_sent`, `read_outcome`."""

from __future__ import annotations

import struct
import uuid
from typing import Any

from devhost.amqp import message as sections
from devhost.amqp import performatives as p
from devhost.amqp.encode import encode_value
from devhost.amqp.errors import DecodeError
from devhost.amqp.message import DATA, DELIVERY_ANNOTATIONS
from devhost.amqp.types import Symbol
from devhost.servicebus.entities.backlog import Lock
from devhost.servicebus.entities.message import Content, Message, encode_annotations, read_content
from devhost.servicebus.entities.settlement import (
    DESCRIPTION,
    REASON,
    Abandoned,
    Completed,
    DeadLettered,
    Deferred,
    Outcome,
    Released,
)
from devhost.servicebus.errors import DECODE_ERROR, BusError

MAX_BATCH = 5_000
"""Messages in one batch."""
_TIMESTAMP = struct.Struct(">Bq")
_TIMESTAMP_CODE, _LONG_CODE = 0x83, 0x81
_ENQUEUED_TIME = encode_value(Symbol("x-opt-enqueued-time"))
_LOCKED_UNTIL = encode_value(Symbol("x-opt-locked-until"))
_SEQUENCE_NUMBER = encode_value(Symbol("x-opt-sequence-number"))
_ENQUEUE_SEQUENCE_NUMBER = encode_value(Symbol("x-opt-enqueue-sequence-number"))
_MESSAGE_STATE = encode_value(Symbol("x-opt-message-state"))
_NO_ANNOTATIONS = sections.encode_map_section(DELIVERY_ANNOTATIONS, {})
_LOCK_TOKEN = sections.encode_map_section(
    DELIVERY_ANNOTATIONS, {Symbol("x-opt-lock-token"): uuid.UUID(int=0)}
)[:-16]
_SMALL_INT = 0x54


def encode_delivery(message: Message, lock: Lock | None) -> bytes:
    """Encode a message as a link delivers it; Azure's tests check the annotations' sizes."""
    entries, count = _encode_annotations(message, lock)
    return b"".join(
        (
            _encode_header(message),
            _NO_ANNOTATIONS if lock is None else _LOCK_TOKEN + lock.token.bytes,
            encode_annotations(count, entries),
            message.content.bare,
        )
    )


def encode_seen(message: Message, lock: Lock | None) -> bytes:
    """Encode a message as `$management` shows it: with its state, without a lock token."""
    entries, count = _encode_annotations(message, lock)
    entries += _MESSAGE_STATE + bytes((_SMALL_INT, message.state))
    return _encode_header(message) + encode_annotations(count + 2, entries) + message.content.bare


def _encode_header(message: Message) -> bytes:
    header = message.content.header._replace(delivery_count=message.delivery_count)
    return sections.encode_composite_section(header)


def _encode_annotations(message: Message, lock: Lock | None) -> tuple[bytes, int]:
    pack = _TIMESTAMP.pack
    entries = (
        message.content.annotations
        + _ENQUEUED_TIME
        + pack(_TIMESTAMP_CODE, message.enqueued_ms)
        + _SEQUENCE_NUMBER
        + pack(_LONG_CODE, message.sequence)
    )
    count = message.content.annotation_count + 4
    if lock is not None:
        entries += _LOCKED_UNTIL + pack(_TIMESTAMP_CODE, lock.until_ms)
        count += 2
    if message.origin_sequence is not None:
        entries += _ENQUEUE_SEQUENCE_NUMBER + pack(_LONG_CODE, message.origin_sequence)
        count += 2
    return entries, count


def read_sent(payload: bytes, message_format: int | None) -> list[Content]:
    """Read the message or the batch of a delivery. Raises BusError."""
    if message_format != sections.BATCH_FORMAT:
        return [read_content(payload)]
    try:
        body = sections.read_body(sections.slice_message(payload).body)
    except DecodeError as error:
        raise BusError(DECODE_ERROR, f"The batch cannot be read: {error}.") from error
    if body.kind != DATA or len(body.values) > MAX_BATCH:
        raise BusError(DECODE_ERROR, f"A batch must have 1 to {MAX_BATCH} data sections.")
    return [read_content(data) for data in body.values]


def read_outcome(state: Any) -> Outcome:
    """Read a receiver's delivery state. An absent or unknown one releases."""
    match state:
        case p.Accepted():
            return Completed()
        case p.Modified(undeliverable_here=True, message_annotations=changes):
            return Deferred(changes or {})
        case p.Modified(message_annotations=changes):
            return Abandoned(changes or {})
        case p.Rejected(error):
            return DeadLettered(_read_reason(error))
        case _:
            return Released()


def make_settled_state(state: Any) -> Any:
    """The answer to a settlement: the same outcome without its fields."""
    known = (p.Accepted, p.Modified, p.Rejected)
    return type(state)() if isinstance(state, known) else p.Released()


def _read_reason(error: Any) -> dict[Any, Any]:
    """Read the dead letter's reason as application properties, also from a plain AMQP error."""
    if not isinstance(error, p.Error):
        return {}
    info = {str(key): value for key, value in (error.info or {}).items()}
    if error.condition != "com.microsoft:dead-letter":
        info.setdefault(REASON, error.condition)
    if error.description and DESCRIPTION not in info:
        info[DESCRIPTION] = error.description
    return {key: value for key, value in info.items() if value is not None}


def read_request(payload: bytes) -> tuple[sections.Properties, dict[Any, Any], Any]:
    """Read a request's properties, application properties and body value. Raises DecodeError."""
    parts = sections.slice_message(payload)
    body = sections.read_body(parts.body)
    value = body.values[0] if body.values else None

    return (
        sections.read_properties(parts.properties),
        sections.read_map(parts.application_properties),
        value,
    )
