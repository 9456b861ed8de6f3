"""Encodes named tuples as AMQP composites (described lists) and decodes them. Entry points:
`encode_composite`, `decode_composite`.

`performatives` and `sasl` register each composite with `define`. A field's kind is a word of
`_KINDS`; `!` after it marks a required field.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from devhost.amqp.decode import decode_value
from devhost.amqp.encode import (
    Appender,
    append_binary,
    append_bool,
    append_compound,
    append_map,
    append_string,
    append_symbol,
    append_uint,
    append_ulong,
    append_value,
)
from devhost.amqp.errors import DecodeError, EncodeError
from devhost.amqp.types import Array, Described, Symbol, Timestamp, UByte, UShort, Value

_Tuple = TypeVar("_Tuple", bound=tuple[Any, ...])


class _Kind(NamedTuple):
    append: Appender
    accepts: type | tuple[type, ...]


@dataclass(frozen=True, slots=True)
class _Shape:
    make: Callable[..., Any]
    name: str
    head: bytes
    appenders: tuple[Appender, ...]
    accepts: tuple[tuple[Any, ...], ...]
    """The types of each field."""
    required: tuple[int, ...]
    nested: tuple[int, ...]


_BY_TYPE: dict[type, _Shape] = {}
_BY_DESCRIPTOR: dict[Value, _Shape] = {}


def encode_composite(value: tuple[Any, ...]) -> bytes:
    """The composite's bytes, descriptor included. Raises EncodeError."""
    out = bytearray()
    append_composite(out, value)
    return bytes(out)


def append_composite(out: bytearray, value: Value) -> None:
    """Append the composite, without absent fields at its end. Raises EncodeError."""
    shape = _BY_TYPE.get(type(value))
    if shape is None:
        append_value(out, value)
        return
    last = len(value)
    while last and value[last - 1] is None:
        last -= 1
    out += shape.head
    if not last:
        out.append(0x45)
        return
    body = bytearray()
    try:
        for append, field in zip(shape.appenders, value[:last], strict=False):
            if field is None:
                body.append(0x40)
            else:
                append(body, field)
    except (ValueError, TypeError, AttributeError) as error:
        raise EncodeError(f"{shape.name} with a field of the wrong type: {error}") from error
    except struct.error as error:
        raise EncodeError(f"{shape.name} with a number out of range") from error
    append_compound(out, last, body, narrow=0xC0)


def decode_composite(data: bytes, position: int = 0) -> tuple[Value, int]:
    """The composite at `position` and the position behind it.

    An unknown descriptor gives a `Described`. Raises DecodeError.
    """
    value, end = decode_value(data, position)
    if type(value) is not Described:
        raise DecodeError("the value must be a described list")
    return read_described(value), end


def read_described(value: Value) -> Value:
    """Return the named tuple of a described list that is known; other values unchanged."""
    if type(value) is not Described:
        return value
    try:
        shape = _BY_DESCRIPTOR.get(value.descriptor)
    except TypeError as error:
        raise DecodeError("a descriptor must be a symbol or an unsigned long") from error
    if shape is None:
        return value
    fields = value.value
    if type(fields) is not list or len(fields) > len(shape.accepts):
        raise DecodeError(f"{shape.name} must be a list of at most {len(shape.accepts)} fields")
    return shape.make(*_check_fields(shape, fields))


def _check_fields(shape: _Shape, fields: list[Value]) -> list[Value]:
    count = len(fields)
    for index in shape.nested:
        if index < count:
            fields[index] = read_described(fields[index])
    for index in shape.required:
        if index >= count or fields[index] is None:
            raise DecodeError(f"{shape.name} lacks its field {index}")
    if not all(map(isinstance, fields, shape.accepts)):
        index = list(map(isinstance, fields, shape.accepts)).index(False)
        raise DecodeError(f"{shape.name}: field {index} is a {type(fields[index]).__name__}")
    return fields


def define(code: int, symbol: str, make: type[_Tuple], kinds: str) -> None:
    """Register a named tuple as the composite with this descriptor."""
    words = kinds.split()
    names = [word.rstrip("!") for word in words]
    shape = _Shape(
        make,
        symbol,
        bytes((0x00, 0x53, code)),
        tuple(_KINDS[name].append for name in names),
        tuple((_KINDS[name].accepts, type(None)) for name in names),
        tuple(index for index, word in enumerate(words) if word.endswith("!")),
        tuple(index for index, name in enumerate(names) if name == "composite"),
    )
    _BY_TYPE[make] = _BY_DESCRIPTOR[code] = _BY_DESCRIPTOR[Symbol(symbol)] = shape


def _append_ubyte(out: bytearray, value: int) -> None:
    append_value(out, UByte(value))


def _append_ushort(out: bytearray, value: int) -> None:
    append_value(out, UShort(value))


def _append_timestamp(out: bytearray, value: int) -> None:
    append_value(out, Timestamp(value))


def _append_symbols(out: bytearray, value: Value) -> None:
    """Append a symbol, or an array of symbols from a list or tuple of strings."""
    if isinstance(value, str):
        append_symbol(out, value)
    else:
        append_value(out, Array(map(Symbol, value), of=Symbol))


_KINDS = {
    "uint": _Kind(append_uint, int),
    "ushort": _Kind(_append_ushort, int),
    "ubyte": _Kind(_append_ubyte, int),
    "ulong": _Kind(append_ulong, int),
    "bool": _Kind(append_bool, bool),
    "timestamp": _Kind(_append_timestamp, int),
    "string": _Kind(append_string, str),
    "symbol": _Kind(append_symbol, str),
    "symbols": _Kind(_append_symbols, (str, list)),
    "binary": _Kind(append_binary, bytes),
    "map": _Kind(append_map, dict),
    "any": _Kind(append_value, object),
    "id": _Kind(append_value, (str, int, bytes, uuid.UUID)),
    "composite": _Kind(append_composite, (tuple, Described)),
}
