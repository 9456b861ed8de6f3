"""Encodes AMQP values. Entry points: `encode_value`, `append_value`.

Each value has the shortest form of its type. Plain Python numbers are a long and a double;
write `UInt(5)`, `Symbol("x")` ... where another type is meant.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable

from devhost.amqp.errors import EncodeError
from devhost.amqp.types import (
    Array,
    Byte,
    Char,
    Decimal,
    Described,
    Float,
    Int,
    Short,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
    Value,
)

Appender = Callable[[bytearray, Value], None]
"""Appends the encoded value, its constructor included."""

_U32 = struct.Struct(">I").pack
_BYTES = tuple(bytes((n,)) for n in range(256))


def encode_value(value: Value) -> bytes:
    """The value's bytes, constructor included. Raises EncodeError."""
    out = bytearray()
    append_value(out, value)
    return bytes(out)


def append_value(out: bytearray, value: Value) -> None:
    """Append the value's bytes to `out`. Raises EncodeError, and then `out` may be half written."""
    append = _APPENDERS.get(type(value))
    if append is None:
        raise EncodeError(f"{type(value).__name__} has no AMQP form")
    try:
        append(out, value)
    except struct.error as error:
        raise EncodeError(f"{value!r} is out of its AMQP type's range") from error
    except UnicodeEncodeError as error:
        raise EncodeError(f"{value!r} has characters that cannot be encoded") from error


def append_sized(out: bytearray, body: bytes | bytearray, *, narrow: int) -> None:
    """Append a string-like value: `narrow` is its constructor for at most 255 bytes."""
    size = len(body)
    if size < 256:
        out += _BYTES[narrow] + _BYTES[size]
    else:
        out += _BYTES[narrow + 0x10] + _U32(size)
    out += body


def append_compound(out: bytearray, count: int, body: bytearray, *, narrow: int) -> None:
    """Append a list or map of `count` encoded elements; `narrow` is its short constructor."""
    size = len(body) + 1
    if size < 256 and count < 256:
        out += _BYTES[narrow] + _BYTES[size] + _BYTES[count]
    else:
        out += _BYTES[narrow + 0x10] + _U32(size + 3) + _U32(count)
    out += body


def append_uint(out: bytearray, value: int) -> None:
    """Append a uint, whatever kind of int it is."""
    if value == 0:
        out.append(0x43)
    elif 0 < value < 256:
        out += b"\x52" + _BYTES[value]
    else:
        out += b"\x70" + _U32(value)


def append_ulong(out: bytearray, value: int) -> None:
    """Append a ulong, whatever kind of int it is."""
    if value == 0:
        out.append(0x44)
    elif 0 < value < 256:
        out += b"\x53" + _BYTES[value]
    else:
        out += b"\x80" + struct.pack(">Q", value)


def append_bool(out: bytearray, value: bool) -> None:
    """Append a boolean."""
    out.append(0x41 if value else 0x42)


def append_binary(out: bytearray, value: bytes) -> None:
    """Append a binary."""
    append_sized(out, value, narrow=0xA0)


def append_string(out: bytearray, value: str) -> None:
    """Append a string, whatever kind of str it is."""
    append_sized(out, value.encode(), narrow=0xA1)


def append_symbol(out: bytearray, value: str) -> None:
    """Append a symbol, whatever kind of str it is."""
    append_sized(out, value.encode("ascii"), narrow=0xA3)


def append_list(out: bytearray, value: list[Value]) -> None:
    """Append a list."""
    if not value:
        out.append(0x45)
        return
    body = bytearray()
    for item in value:
        append_value(body, item)
    append_compound(out, len(value), body, narrow=0xC0)


def append_map(out: bytearray, value: dict[Value, Value]) -> None:
    """Append a map."""
    body = bytearray()
    for key, item in value.items():
        append_value(body, key)
        append_value(body, item)
    append_compound(out, 2 * len(value), body, narrow=0xC1)


def _make_fixed(code: int, layout: str) -> Appender:
    pack, head = struct.Struct(">" + layout).pack, _BYTES[code]

    def append(out: bytearray, value: Value) -> None:
        out += head + pack(value)

    return append


def _make_small_or(short: int, wide: Appender) -> Appender:
    """Make an encoder of a signed number, which uses one byte if the number fits."""

    def append(out: bytearray, value: int) -> None:
        if -128 <= value < 128:
            out += _BYTES[short] + _BYTES[value & 0xFF]
        else:
            wide(out, value)

    return append


def _append_none(out: bytearray, value: None) -> None:
    out.append(0x40)


def _append_char(out: bytearray, value: str) -> None:
    out += b"\x73" + _U32(ord(value))


def _append_uuid(out: bytearray, value: uuid.UUID) -> None:
    out += b"\x98" + value.bytes


def _append_decimal(out: bytearray, value: Decimal) -> None:
    out += _BYTES[value.code] + value.raw


def _append_described(out: bytearray, value: Described) -> None:
    out.append(0x00)
    append_value(out, value.descriptor)
    append_value(out, value.value)


def _make_wide_body(constructor: int) -> Appender:
    """Make an encoder of an array's string, list or map, always in the long form."""

    def append(out: bytearray, value: Value) -> None:
        whole = encode_value(value)
        code = whole[0]
        if code == constructor:
            out += whole[1:]
        elif code == 0x45:
            out += _U32(4) + _U32(0)
        elif constructor in (0xD0, 0xD1):
            out += _U32(whole[1] + 3) + _U32(whole[2]) + whole[3:]
        else:
            out += _U32(whole[1]) + whole[2:]

    return append


def _make_raw(layout: str) -> Appender:
    pack = struct.Struct(">" + layout).pack

    def append(out: bytearray, value: Value) -> None:
        out += pack(value)

    return append


def _append_array(out: bytearray, value: Array) -> None:
    form = _ELEMENTS.get(value.of)
    if form is None:
        raise EncodeError(f"arrays of {value.of.__name__} cannot be encoded")
    constructor, append = form
    body = bytearray((constructor,))
    for item in value:
        if type(item) is not value.of:
            raise EncodeError(f"{item!r} in an array of {value.of.__name__}")
        append(body, item)
    append_compound(out, len(value), body, narrow=0xE0)


def _append_uuid_body(out: bytearray, value: uuid.UUID) -> None:
    out += value.bytes


def _append_char_body(out: bytearray, value: str) -> None:
    out += _U32(ord(value))


def _append_nothing(out: bytearray, value: None) -> None:
    """A null in an array has no bytes."""


_APPENDERS: dict[type, Appender] = {
    type(None): _append_none,
    bool: append_bool,
    UByte: _make_fixed(0x50, "B"),
    UShort: _make_fixed(0x60, "H"),
    UInt: append_uint,
    ULong: append_ulong,
    Byte: _make_fixed(0x51, "b"),
    Short: _make_fixed(0x61, "h"),
    Int: _make_small_or(0x54, _make_fixed(0x71, "i")),
    int: _make_small_or(0x55, _make_fixed(0x81, "q")),
    Timestamp: _make_fixed(0x83, "q"),
    Float: _make_fixed(0x72, "f"),
    float: _make_fixed(0x82, "d"),
    Char: _append_char,
    Decimal: _append_decimal,
    uuid.UUID: _append_uuid,
    bytes: append_binary,
    bytearray: append_binary,
    str: append_string,
    Symbol: append_symbol,
    list: append_list,
    dict: append_map,
    Array: _append_array,
    Described: _append_described,
}

_ELEMENTS: dict[type, tuple[int, Appender]] = {
    type(None): (0x40, _append_nothing),
    bool: (0x56, _make_raw("?")),
    UByte: (0x50, _make_raw("B")),
    UShort: (0x60, _make_raw("H")),
    UInt: (0x70, _make_raw("I")),
    ULong: (0x80, _make_raw("Q")),
    Byte: (0x51, _make_raw("b")),
    Short: (0x61, _make_raw("h")),
    Int: (0x71, _make_raw("i")),
    int: (0x81, _make_raw("q")),
    Timestamp: (0x83, _make_raw("q")),
    Float: (0x72, _make_raw("f")),
    float: (0x82, _make_raw("d")),
    Char: (0x73, _append_char_body),
    uuid.UUID: (0x98, _append_uuid_body),
    bytes: (0xB0, _make_wide_body(0xB0)),
    str: (0xB1, _make_wide_body(0xB1)),
    Symbol: (0xB3, _make_wide_body(0xB3)),
    list: (0xD0, _make_wide_body(0xD0)),
    dict: (0xD1, _make_wide_body(0xD1)),
}
"""Per element type its one constructor in an array, and what appends an element's body."""
