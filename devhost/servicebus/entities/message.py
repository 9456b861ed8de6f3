"""Defines a message in the Service Bus. Entry point: `read_content`.

`Content` is what the sender gave, byte for byte; `Message` adds its number, times and
state in an entity.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from devhost.amqp import message as sections
from devhost.amqp.encode import append_value
from devhost.amqp.errors import AmqpError, EncodeError
from devhost.amqp.message import Header, Properties
from devhost.amqp.types import Symbol
from devhost.servicebus.errors import DECODE_ERROR, BusError

SCHEDULED_TIME = "x-opt-scheduled-enqueue-time"
_OURS = frozenset(
    {
        "x-opt-sequence-number",
        "x-opt-enqueue-sequence-number",
        "x-opt-enqueued-time",
        "x-opt-locked-until",
        "x-opt-lock-token",
        "x-opt-message-state",
        "x-opt-deadletter-source",
    }
)
"""Annotations that only a broker may set; those of a forwarded message are removed."""


class State(IntEnum):
    """The values of `x-opt-message-state`."""

    ACTIVE = 0
    DEFERRED = 1
    SCHEDULED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The content of a message as its sender gave it.

    `annotations` are the encoded keys and values of the message annotations. `annotation_count` is
    the number of keys and values together.
    """

    header: Header
    annotation_count: int
    annotations: bytes
    properties: Properties
    properties_section: bytes
    application_section: bytes
    rest: bytes
    scheduled_ms: int | None

    @property
    def bare(self) -> bytes:
        """Properties, application properties and body."""
        return self.properties_section + self.application_section + self.rest

    @property
    def application_properties(self) -> dict[Any, Any]:
        """The application properties, decoded anew each time."""
        return sections.read_map(self.application_section)

    @property
    def ttl_ms(self) -> int | None:
        """The sender's time to live; two times express one that a uint cannot hold."""
        expiry, creation = self.properties.absolute_expiry_time, self.properties.creation_time
        if self.header.ttl is not None and self.header.ttl < 0xFFFFFFFF:
            return self.header.ttl
        if expiry is not None and creation is not None:
            return max(expiry - creation, 0)
        return self.header.ttl

    def encode(self) -> bytes:
        """The whole message, as `read_content` takes it."""
        head = sections.encode_composite_section(self.header)
        return head + encode_annotations(self.annotation_count, self.annotations) + self.bare

    def with_properties(self, more: dict[Any, Any]) -> Content:
        """The same with more application properties."""
        if not more:
            return self
        merged = {**self.application_properties, **more}
        try:
            section = sections.encode_map_section(sections.APPLICATION_PROPERTIES, merged)
        except EncodeError:  # arrays of described values, which cannot be properties
            return self
        return replace(self, application_section=section)

    def with_all_properties(self, properties: Properties, own: dict[Any, Any]) -> Content:
        """The same with these standard and application properties. Raises EncodeError."""
        code = sections.APPLICATION_PROPERTIES
        return replace(
            self,
            properties=properties,
            properties_section=sections.encode_composite_section(properties),
            application_section=sections.encode_map_section(code, own) if own else b"",
        )


def encode_annotations(count: int, entries: bytes) -> bytes:
    """Encode message annotations from `count` encoded keys and values; none: no section."""
    if not count:
        return b""
    size = len(entries) + 4
    return b"\x00\x53\x72\xd1" + size.to_bytes(4) + count.to_bytes(4) + entries


def read_content(data: bytes) -> Content:
    """Read a message as a sender encoded it. Raises BusError if it is not a message."""
    try:
        parts = sections.slice_message(data)
        header = sections.read_header(parts.header)
        properties = sections.read_properties(parts.properties)
        annotations = sections.read_map(parts.message_annotations)
        properties_section = parts.properties
        if properties.message_id is None:  # the JavaScript SDK needs one
            properties = properties._replace(message_id=uuid.uuid4().hex)
            properties_section = sections.encode_composite_section(properties)
        sections.read_map(parts.application_properties)  # so that later reads cannot fail
        scheduled = annotations.get(SCHEDULED_TIME)
        count, entries = _encode_entries(annotations)
    except AmqpError as error:
        raise BusError(DECODE_ERROR, f"The message cannot be read: {error}.") from error
    return Content(
        header=header,
        annotation_count=count,
        annotations=entries,
        properties=properties,
        properties_section=properties_section,
        application_section=parts.application_properties,
        rest=parts.body + parts.footer,
        scheduled_ms=scheduled if isinstance(scheduled, int) else None,
    )


def _encode_entries(annotations: dict[Any, Any]) -> tuple[int, bytes]:
    out, count = bytearray(), 0
    for key, value in annotations.items():
        if key not in _OURS:
            append_value(out, Symbol(key) if isinstance(key, str) else key)
            append_value(out, value)
            count += 2
    return count, bytes(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A content with its number, times and state. Times are in milliseconds since 1970."""

    content: Content
    sequence: int
    enqueued_ms: int
    expires_ms: int | None = None
    due_ms: int | None = None
    """When a scheduled message is to be enqueued."""
    state: State = State.ACTIVE
    delivery_count: int = 0
    origin_sequence: int | None = None
    """Its sequence number in the topic that it came through."""

    @property
    def session_id(self) -> str | None:
        """The session it belongs to."""
        return self.content.properties.group_id
