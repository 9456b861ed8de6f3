"""Defines Python types that keep the AMQP type of a value. Entry point: `Described`.

Types of AMQP 1.0, part 1. One with an exact equivalent in Python has no class here; the package's
docstring lists those.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

Value: TypeAlias = Any
"""An AMQP value. Its type is known only at run time."""


class UByte(int):
    """0 … 255."""

    __slots__ = ()


class UShort(int):
    """0 … 65535."""

    __slots__ = ()


class UInt(int):
    """0 … 2^32 - 1."""

    __slots__ = ()


class ULong(int):
    """0 … 2^64 - 1."""

    __slots__ = ()


class Byte(int):
    """-128 … 127."""

    __slots__ = ()


class Short(int):
    """-32768 … 32767."""

    __slots__ = ()


class Int(int):
    """-2^31 … 2^31 - 1."""

    __slots__ = ()


class Timestamp(int):
    """Milliseconds since 1970-01-01T00:00:00Z."""

    __slots__ = ()


class Float(float):
    """A 32-bit float."""

    __slots__ = ()


class Char(str):
    """One Unicode character."""

    __slots__ = ()


class Symbol(str):
    """A name from a fixed vocabulary, in ASCII."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Decimal:
    """A decimal32, 64 or 128, forwarded unchanged: its constructor and its raw bytes."""

    code: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Described:
    """A value with a descriptor (a symbol or an unsigned long)."""

    descriptor: Value
    value: Value


class Array(list[Value]):
    """Values of one type, `of`; an empty array has one too."""

    __slots__ = ("of",)

    def __init__(self, items: Iterable[Value] = (), *, of: type) -> None:
        super().__init__(items)
        self.of = of
