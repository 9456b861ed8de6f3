"""Cuts a message into its sections and builds sections. Entry point: `slice_message`.

AMQP 1.0, part 3, section 3.2. Service Bus forwards a message byte for byte, so that no
section is decoded before it is needed: the sections are found by skipping values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from devhost.amqp.composites import define, encode_composite, read_described
from devhost.amqp.decode import decode_value, skip_value
from devhost.amqp.encode import append_binary, append_value
from devhost.amqp.errors import DecodeError
from devhost.amqp.types import Value

HEADER, DELIVERY_ANNOTATIONS, MESSAGE_ANNOTATIONS = 0x70, 0x71, 0x72
PROPERTIES, APPLICATION_PROPERTIES = 0x73, 0x74
DATA, SEQUENCE, VALUE, FOOTER = 0x75, 0x76, 0x77, 0x78

BATCH_FORMAT = 0x80013700
"""Service Bus' message-format of a batch: each data section holds a whole message."""


class Header(NamedTuple):
    """Delivery options of a message; `ttl` in milliseconds."""

    durable: bool | None = None
    priority: int | None = None
    ttl: int | None = None
    first_acquirer: bool | None = None
    delivery_count: int | None = None


class Properties(NamedTuple):
    """The sender's standard properties; `subject` is Service Bus' label, `group_id` its session."""

    message_id: Value = None
    user_id: bytes | None = None
    to: str | None = None
    subject: str | None = None
    reply_to: str | None = None
    correlation_id: Value = None
    content_type: str | None = None
    content_encoding: str | None = None
    absolute_expiry_time: int | None = None
    creation_time: int | None = None
    group_id: str | None = None
    group_sequence: int | None = None
    reply_to_group_id: str | None = None


define(HEADER, "amqp:header:list", Header, "bool ubyte uint bool uint")
define(
    PROPERTIES,
    "amqp:properties:list",
    Properties,
    "id binary any string any id symbol symbol timestamp timestamp string uint string",
)


class Sections(NamedTuple):
    """A message's encoded sections, descriptors included; an absent one is empty."""

    header: bytes = b""
    delivery_annotations: bytes = b""
    message_annotations: bytes = b""
    properties: bytes = b""
    application_properties: bytes = b""
    body: bytes = b""
    footer: bytes = b""

    @property
    def bare(self) -> bytes:
        """The part that no broker may change: from the properties to the end."""
        return self.properties + self.application_properties + self.body + self.footer


_SLOTS = {
    HEADER: 0,
    DELIVERY_ANNOTATIONS: 1,
    MESSAGE_ANNOTATIONS: 2,
    PROPERTIES: 3,
    APPLICATION_PROPERTIES: 4,
    DATA: 5,
    SEQUENCE: 5,
    VALUE: 5,
    FOOTER: 6,
}
_BODY = 5


def slice_message(data: bytes) -> Sections:
    """Cut a message into its sections, which may come in any order.

    The Python SDK writes delivery annotations last. Raises DecodeError for an unknown or repeated
    section and for a body of two kinds.
    """
    parts = [b""] * len(Sections._fields)
    position, end, body_code = 0, len(data), 0
    while position < end:
        code, _ = _section_code(data, position)
        slot = _SLOTS.get(code)
        if slot is None:
            raise DecodeError(f"section 0x{code:02x} is unknown")
        if parts[slot] and not (code == body_code and code in (DATA, SEQUENCE)):
            raise DecodeError(f"section 0x{code:02x} is repeated, or a second kind of body")
        after = skip_value(data, position)
        parts[slot] += data[position:after]
        position = after
        body_code = code if slot == _BODY else body_code
    return Sections(*parts)


_SYMBOLS = {
    "amqp:header:list": HEADER,
    "amqp:delivery-annotations:map": DELIVERY_ANNOTATIONS,
    "amqp:message-annotations:map": MESSAGE_ANNOTATIONS,
    "amqp:properties:list": PROPERTIES,
    "amqp:application-properties:map": APPLICATION_PROPERTIES,
    "amqp:data:binary": DATA,
    "amqp:amqp-sequence:list": SEQUENCE,
    "amqp:amqp-value:*": VALUE,
    "amqp:footer:map": FOOTER,
}


def _section_code(data: bytes, position: int) -> tuple[int, int]:
    """The section's number, and the position of its value."""
    if data[position] != 0:
        raise DecodeError("a message must consist of described sections")
    if data[position + 1 : position + 2] == b"\x53" and position + 2 < len(data):
        return data[position + 2], position + 3
    descriptor, start = decode_value(data, position + 1)
    if isinstance(descriptor, str):
        return _SYMBOLS.get(descriptor, 0), start
    return (int(descriptor) if isinstance(descriptor, int) else 0), start


_Section = TypeVar("_Section", Header, Properties)


def read_header(section: bytes) -> Header:
    """Decode the header; an empty section is a header without fields. Raises DecodeError."""
    return _read_composite(section, Header)


def read_properties(section: bytes) -> Properties:
    """Decode the properties in the same way."""
    return _read_composite(section, Properties)


def _read_composite(section: bytes, kind: type[_Section]) -> _Section:
    if not section:
        return kind()
    value, _ = decode_value(section)
    composite = read_described(value)
    if not isinstance(composite, kind):
        raise DecodeError(f"a {kind.__name__.lower()} section is expected here")
    return composite


def read_map(section: bytes) -> dict[Any, Any]:
    """Decode a section that is a map; {} for an empty one. Raises DecodeError."""
    if not section:
        return {}
    value = decode_value(section)[0].value
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise DecodeError("this section of a message must be a map")
    return value


class Body(NamedTuple):
    """A decoded body: `kind` is DATA (values: bytes), SEQUENCE (lists), VALUE (one) or 0 (none)."""

    kind: int
    values: list[Value]


def read_body(section: bytes) -> Body:
    """Decode the body sections. Raises DecodeError."""
    kind, values, position = 0, [], 0
    while position < len(section):
        kind, start = _section_code(section, position)
        value, position = decode_value(section, start)
        if (kind == DATA and type(value) is not bytes) or (
            kind == SEQUENCE and type(value) is not list
        ):
            raise DecodeError("a data section must be binary, a sequence section a list")
        values.append(value)
    return Body(kind, values)


def encode_map_section(code: int, value: dict[Any, Any]) -> bytes:
    """Encode a section that is a map: `code` is one of the section numbers above."""
    return _section(code, value)


def encode_value_section(value: Value) -> bytes:
    """Encode a body of one value."""
    return _section(VALUE, value)


def encode_sequence_section(values: Sequence[Value]) -> bytes:
    """Encode one sequence of a body."""
    return _section(SEQUENCE, list(values))


def encode_data_section(data: bytes) -> bytes:
    """Encode one data section of a body."""
    out = bytearray((0x00, 0x53, DATA))
    append_binary(out, data)
    return bytes(out)


def encode_composite_section(value: Header | Properties) -> bytes:
    """Encode the header or the properties."""
    return encode_composite(value)


def _section(code: int, value: Value) -> bytes:
    out = bytearray((0x00, 0x53, code))
    append_value(out, value)
    return bytes(out)
