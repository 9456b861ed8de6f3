"""Decodes AMQP values. Entry points: `decode_value`, `skip_value`.

`decode_value` looks the constructor byte up in a table of 256 decoders; `skip_value` needs only
the byte's first half, which tells the width (AMQP 1.0, part 1, section 1.2).
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from typing import TypeVar

from devhost.amqp.errors import DecodeError
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

MAX_NESTING = 32
"""How deep lists, maps, arrays and descriptors may lie in each other."""
MAX_EMPTY_ELEMENTS = 65_536
"""How long an array of elements without bytes (nulls, trues) may be."""

_Decoder = Callable[[bytes, int, int], tuple[Value, int]]
_Number = TypeVar("_Number", bound=int)

_SMALL_UINTS = tuple(UInt(n) for n in range(256))
_SMALL_ULONGS = tuple(ULong(n) for n in range(256))
_U32 = struct.Struct(">I").unpack_from


def decode_value(data: bytes, position: int = 0) -> tuple[Value, int]:
    """The value at `position` and the position behind it. Raises DecodeError."""
    try:
        return _TABLE[data[position]](data, position + 1, 0)
    except (IndexError, struct.error) as error:
        raise DecodeError("the bytes end in the middle of a value") from error
    except UnicodeDecodeError as error:
        raise DecodeError("a string is not valid UTF-8, or a symbol not ASCII") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise DecodeError(f"a value that AMQP 1.0 does not allow: {error}") from error


def skip_value(data: bytes, position: int = 0) -> int:
    """The position behind the value at `position`, without decoding it. Raises DecodeError."""
    try:
        end = _skip(data, position, 0)
    except (IndexError, struct.error) as error:
        raise DecodeError("the bytes end in the middle of a value") from error
    if end > len(data):
        raise DecodeError("the bytes end in the middle of a value")
    return end


def _skip(data: bytes, position: int, depth: int) -> int:
    code = data[position]
    position += 1
    if code == 0:
        if depth > MAX_NESTING:
            raise DecodeError(f"values nested deeper than {MAX_NESTING}")
        return _skip(data, _skip(data, position, depth + 1), depth + 1)
    width = _WIDTHS[code >> 4]
    if width >= 0:
        return position + width
    if width == _SIZE_IN_ONE_BYTE:
        return position + 1 + data[position]
    if width == _SIZE_IN_FOUR_BYTES:
        size: int = _U32(data, position)[0]
        return position + 4 + size
    raise DecodeError(f"0x{code:02x} is not an AMQP constructor")


_SIZE_IN_ONE_BYTE, _SIZE_IN_FOUR_BYTES, _NO_TYPE = -1, -4, -9
# By the first half of the constructor byte: fixed widths, variable, compound and array.
_WIDTHS = (_NO_TYPE,) * 4 + (0, 1, 2, 4, 8, 16) + (_SIZE_IN_ONE_BYTE, _SIZE_IN_FOUR_BYTES) * 3


def _refuse_code(data: bytes, position: int, depth: int) -> tuple[Value, int]:
    raise DecodeError("a byte is not an AMQP constructor")


def _make_constant(value: Value) -> _Decoder:
    return lambda data, position, depth: (value, position)


def _make_fixed(layout: str, make: type[_Number] | type[Float] | None) -> _Decoder:
    """A number of fixed width; `make` None leaves the plain Python number."""
    unpack, width = struct.Struct(layout).unpack_from, struct.calcsize(layout)
    if make is None:
        return lambda data, position, depth: (unpack(data, position)[0], position + width)
    build = make
    return lambda data, position, depth: (build(unpack(data, position)[0]), position + width)


def _decode_small(values: tuple[Value, ...]) -> _Decoder:
    return lambda data, position, depth: (values[data[position]], position + 1)


def _decode_small_signed(make: type[int] | None) -> _Decoder:
    signed = [n if n < 128 else n - 256 for n in range(256)]
    return _decode_small(tuple(signed if make is None else map(make, signed)))


def _decode_bool(data: bytes, position: int, depth: int) -> tuple[Value, int]:
    if data[position] > 1:
        raise DecodeError("a boolean must be 0 or 1")
    return data[position] == 1, position + 1


def _decode_char(data: bytes, position: int, depth: int) -> tuple[Value, int]:
    return Char(chr(_U32(data, position)[0])), position + 4


def _decode_uuid(data: bytes, position: int, depth: int) -> tuple[Value, int]:
    return uuid.UUID(bytes=_slice(data, position, 16)), position + 16


def _make_decimal(code: int, width: int) -> _Decoder:
    return lambda data, position, depth: (
        Decimal(code, _slice(data, position, width)),
        position + width,
    )


def _slice(data: bytes, position: int, size: int) -> bytes:
    end = position + size
    if end > len(data):
        raise DecodeError(f"{size} bytes are announced, only {len(data) - position} follow")
    return data[position:end]


def _make_variable(make: Callable[[bytes], Value], *, wide: bool) -> _Decoder:
    def decode_narrow(data: bytes, position: int, depth: int) -> tuple[Value, int]:
        size = data[position]
        return make(_slice(data, position + 1, size)), position + 1 + size

    def decode_wide(data: bytes, position: int, depth: int) -> tuple[Value, int]:
        size: int = _U32(data, position)[0]
        return make(_slice(data, position + 4, size)), position + 4 + size

    return decode_wide if wide else decode_narrow


def _decode_text(raw: bytes) -> str:
    return raw.decode()


def _decode_symbol(raw: bytes) -> Symbol:
    return Symbol(raw.decode("ascii"))


def _read_head(data: bytes, position: int, wide: bool) -> tuple[int, int, int]:
    """Count, first position and end of a compound. Raises DecodeError if bytes are missing."""
    if wide:
        size, count, first = _U32(data, position)[0], _U32(data, position + 4)[0], position + 8
        end = position + 4 + size
    else:
        size, count, first = data[position], data[position + 1], position + 2
        end = position + 1 + size
    if end > len(data) or first > end:
        raise DecodeError(f"{size} bytes are announced, only {len(data) - position} follow")
    return count, first, end


def _read_elements(data: bytes, head: tuple[int, int, int], depth: int) -> tuple[list[Value], int]:
    count, position, end = head
    if count > end - position:
        raise DecodeError(f"{count} elements do not fit {end - position} bytes")
    if depth >= MAX_NESTING:
        raise DecodeError(f"values nested deeper than {MAX_NESTING}")
    values = []
    depth += 1
    for _ in range(count):
        value, position = _TABLE[data[position]](data, position + 1, depth)
        values.append(value)
    if position != end:
        raise DecodeError("a list or map is not as long as it announces")
    return values, end


def _make_list(*, wide: bool) -> _Decoder:
    return lambda data, position, depth: _read_elements(
        data, _read_head(data, position, wide), depth
    )


def _make_map(*, wide: bool) -> _Decoder:
    def decode(data: bytes, position: int, depth: int) -> tuple[Value, int]:
        values, end = _read_elements(data, _read_head(data, position, wide), depth)
        if len(values) % 2:
            raise DecodeError("a map has a key without a value")
        return dict(zip(values[::2], values[1::2], strict=True)), end

    return decode


def _make_array(*, wide: bool) -> _Decoder:
    def decode(data: bytes, position: int, depth: int) -> tuple[Value, int]:
        count, position, end = _read_head(data, position, wide)
        if depth >= MAX_NESTING:
            raise DecodeError(f"values nested deeper than {MAX_NESTING}")
        code, position, descriptor = data[position], position + 1, None
        if code == 0:
            descriptor, position = _TABLE[data[position]](data, position + 1, depth + 1)
            code, position = data[position], position + 1
        if count > max(end - position, MAX_EMPTY_ELEMENTS if _WIDTHS[code >> 4] == 0 else 0):
            raise DecodeError(f"{count} elements do not fit {end - position} bytes")
        values = []
        for _ in range(count):
            value, position = _TABLE[code](data, position, depth + 1)
            values.append(value if descriptor is None else Described(descriptor, value))
        if position != end:
            raise DecodeError("an array is not as long as it announces")
        return Array(values, of=type(values[0]) if values else _find_type(code)), end

    return decode


def _decode_described(data: bytes, position: int, depth: int) -> tuple[Value, int]:
    if depth >= MAX_NESTING:
        raise DecodeError(f"values nested deeper than {MAX_NESTING}")
    descriptor, position = _TABLE[data[position]](data, position + 1, depth + 1)
    value, position = _TABLE[data[position]](data, position + 1, depth + 1)
    return Described(descriptor, value), position


_TABLE: list[_Decoder] = [_refuse_code] * 256
_TABLE[0x00] = _decode_described
_TABLE[0x40] = _make_constant(None)
_TABLE[0x41], _TABLE[0x42], _TABLE[0x56] = _make_constant(True), _make_constant(False), _decode_bool
_TABLE[0x50], _TABLE[0x60] = _make_fixed(">B", UByte), _make_fixed(">H", UShort)
_TABLE[0x70], _TABLE[0x52], _TABLE[0x43] = (
    _make_fixed(">I", UInt),
    _decode_small(_SMALL_UINTS),
    _make_constant(_SMALL_UINTS[0]),
)
_TABLE[0x80], _TABLE[0x53], _TABLE[0x44] = (
    _make_fixed(">Q", ULong),
    _decode_small(_SMALL_ULONGS),
    _make_constant(_SMALL_ULONGS[0]),
)
_TABLE[0x51], _TABLE[0x61] = _decode_small_signed(Byte), _make_fixed(">h", Short)
_TABLE[0x71], _TABLE[0x54] = _make_fixed(">i", Int), _decode_small_signed(Int)
_TABLE[0x81], _TABLE[0x55] = _make_fixed(">q", None), _decode_small_signed(None)
_TABLE[0x72], _TABLE[0x82] = _make_fixed(">f", Float), _make_fixed(">d", None)
_TABLE[0x74], _TABLE[0x84], _TABLE[0x94] = (
    _make_decimal(0x74, 4),
    _make_decimal(0x84, 8),
    _make_decimal(0x94, 16),
)
_TABLE[0x73], _TABLE[0x83], _TABLE[0x98] = _decode_char, _make_fixed(">q", Timestamp), _decode_uuid
_TABLE[0xA0], _TABLE[0xB0] = _make_variable(bytes, wide=False), _make_variable(bytes, wide=True)
_TABLE[0xA1], _TABLE[0xB1] = (
    _make_variable(_decode_text, wide=False),
    _make_variable(_decode_text, wide=True),
)
_TABLE[0xA3], _TABLE[0xB3] = (
    _make_variable(_decode_symbol, wide=False),
    _make_variable(_decode_symbol, wide=True),
)


def _decode_empty_list(data: bytes, position: int, depth: int) -> tuple[Value, int]:
    return [], position


_TABLE[0x45], _TABLE[0xC0], _TABLE[0xD0] = (
    _decode_empty_list,
    _make_list(wide=False),
    _make_list(wide=True),
)
_TABLE[0xC1], _TABLE[0xD1] = _make_map(wide=False), _make_map(wide=True)
_TABLE[0xE0], _TABLE[0xF0] = _make_array(wide=False), _make_array(wide=True)


_COMPOUND_TYPES: dict[int, type] = {
    **dict.fromkeys((0xC0, 0xD0), list),
    **dict.fromkeys((0xC1, 0xD1), dict),
    **dict.fromkeys((0xE0, 0xF0), Array),
    0x00: Described,
}


def _find_type(code: int) -> type:
    """The type of an empty array's elements. Raises DecodeError for an unknown code."""
    compound = _COMPOUND_TYPES.get(code)
    if compound is not None:
        return compound
    value, _ = _TABLE[code](bytes(16), 0, 0)
    return type(value)
