"""Decodes a delivery for a function as Azure's host does. Entry points: `BusMessage.read`,
`BusMessage.bind`.

The keys, their types and their oddities are those of the .NET extension
(`ServiceBusTriggerBindingStrategy`): `DeliveryCount` begins at 1; `EnqueuedTimeUtc` and
`ExpiresAtUtc` have no zone, so that Python gets naive datetimes; `LockedUntil`, `TimeToLive`,
`State` and the dead-letter reason are absent (the last one is an application property).
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.functions.meta import Datum

from devhost.amqp.errors import DecodeError
from devhost.amqp.message import (
    DATA,
    VALUE,
    Header,
    Properties,
    read_body,
    read_header,
    read_map,
    read_properties,
    slice_message,
)
from devhost.amqp.types import Described, Timestamp
from devhost.functions.binding_data import as_datum, bind_body

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOR_EVER = "9999-12-31T23:59:59.9999999"


class UnfitBody(Exception):
    """The body cannot be bound to the function's parameter; in Azure the call fails, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusMessage:
    """A delivery, decoded as far as the host needs it."""

    message_id: str | None
    delivery_count: int
    session_id: str | None
    locked_until: datetime | None
    metadata: Mapping[str, Datum]
    body_kind: int
    body: Any

    @classmethod
    def read(cls, payload: bytes, tag: bytes) -> BusMessage:
        """Decode a delivery. Raises DecodeError."""
        sections = slice_message(payload)
        header = read_header(sections.header)
        properties = read_properties(sections.properties)
        annotations = read_map(sections.message_annotations)
        body = read_body(sections.body)
        delivery_count = (header.delivery_count or 0) + 1
        return cls(
            message_id=_format_id(properties.message_id),
            delivery_count=delivery_count,
            session_id=properties.group_id,
            locked_until=_to_moment(annotations.get("x-opt-locked-until")),
            metadata=_make_metadata(
                header, properties, annotations, read_map(sections.application_properties), tag
            ),
            body_kind=body.kind,
            body=b"".join(body.values) if body.kind in (0, DATA) else body.values[0],
        )

    def bind(self, *, binary: bool) -> tuple[Datum, Mapping[str, Datum]]:
        """Make the trigger's data and metadata. Raises UnfitBody where the .NET extension throws.

        Only a body of AMQP data can be bound to bytes; a value that is a string, to text too.
        """
        if self.body_kind in (0, DATA):
            return bind_body(self.body, binary=binary, metadata=self.metadata)
        if self.body_kind == VALUE and isinstance(self.body, str) and not binary:
            return bind_body(self.body.encode(), binary=False, metadata=self.metadata)
        kind = "value" if self.body_kind == VALUE else "sequence"
        raise UnfitBody(
            f"an AMQP {kind} body cannot be bound to {'bytes' if binary else 'text'}; "
            "send the body as data"
        )


def _make_metadata(
    header: Header,
    properties: Properties,
    annotations: Mapping[Any, Any],
    application: Mapping[Any, Any],
    tag: bytes,
) -> dict[str, Datum]:
    enqueued = _to_moment(annotations.get("x-opt-enqueued-time")) or _EPOCH
    expires = _compute_expiry(header, properties, enqueued)
    custom = {str(name): _to_plain(value) for name, value in application.items()}
    partition_key = annotations.get("x-opt-partition-key")
    found: dict[str, object] = {
        "DeliveryCount": (header.delivery_count or 0) + 1,
        "DeadLetterSource": annotations.get("x-opt-deadletter-source"),
        "LockToken": str(uuid.UUID(bytes_le=tag)) if len(tag) == 16 else None,
        "ExpiresAtUtc": expires,
        "ExpiresAt": f"{expires}+00:00",
        "EnqueuedTimeUtc": _drop_zone(enqueued),
        "EnqueuedTime": f"{_drop_zone(enqueued)}+00:00",
        "MessageId": _format_id(properties.message_id),
        "ContentType": properties.content_type,
        "ReplyTo": properties.reply_to,
        "SequenceNumber": annotations.get("x-opt-sequence-number"),
        "To": properties.to,
        "Subject": properties.subject,
        "Label": properties.subject,
        "CorrelationId": _format_id(properties.correlation_id),
        "ApplicationProperties": custom,
        "UserProperties": custom,
        "SessionId": properties.group_id,
        "ReplyToSessionId": properties.reply_to_group_id,
        "PartitionKey": partition_key,
        "TransactionPartitionKey": annotations.get("x-opt-via-partition-key"),
    }
    return {name: as_datum(value) for name, value in found.items() if value is not None}


def _compute_expiry(header: Header, properties: Properties, enqueued: datetime) -> str:
    if properties.absolute_expiry_time is not None:
        moment = _to_moment(properties.absolute_expiry_time)
        return _drop_zone(moment) if moment is not None else _FOR_EVER
    if header.ttl is None:
        return _FOR_EVER
    try:
        return _drop_zone(enqueued + timedelta(milliseconds=header.ttl))
    except OverflowError:
        return _FOR_EVER


def _to_moment(milliseconds: int | None) -> datetime | None:
    if milliseconds is None:
        return None
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None


def _drop_zone(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds")


def _format_id(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _to_plain(value: Any) -> Any:
    """Convert an application property as .NET's JSON does."""
    match value:
        case Timestamp():
            moment = _to_moment(value)
            return moment.isoformat().replace("+00:00", "Z") if moment else str(value)
        case bool() | int() | float() | str() | None:
            return value
        case bytes():
            return base64.b64encode(value).decode()
        case Described():
            return _to_plain(value.value)
        case dict():
            return {str(name): _to_plain(item) for name, item in value.items()}
        case list():
            return [_to_plain(item) for item in value]
        case _:
            return str(value)


__all__ = ["BusMessage", "DecodeError", "UnfitBody"]
