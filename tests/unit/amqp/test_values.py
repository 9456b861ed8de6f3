"""Does every AMQP type survive the way to bytes and back, and do wrong bytes stay harmless?"""

from __future__ import annotations

import random
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devhost.amqp import types as t
from devhost.amqp.decode import decode_value, skip_value
from devhost.amqp.encode import encode_value
from devhost.amqp.errors import DecodeError, EncodeError
from tests.texts import texts

ONE_OF_EACH: list[Any] = [
    None,
    True,
    False,
    t.UByte(200),
    t.UShort(60_000),
    t.UInt(0),
    t.UInt(7),
    t.UInt(4_000_000_000),
    t.ULong(0),
    t.ULong(255),
    t.ULong(1 << 63),
    t.Byte(-5),
    t.Short(-300),
    t.Int(-5),
    t.Int(-70_000),
    -5,
    1 << 40,
    t.Float(0.5),
    0.1,
    t.Char("é"),
    t.Timestamp(1_700_000_000_000),
    uuid.UUID(int=5),
    b"",
    b"x" * 300,
    "ümlaut",
    "y" * 300,
    t.Symbol("amqp:x"),
    t.Symbol("s" * 300),
    t.Decimal(0x94, bytes(range(16))),
    [],
    [1, [2, "three"], None],
    list(range(300)),
    {},
    {"a": 1, t.Symbol("b"): [None]},
    t.Described(t.ULong(0x77), "body"),
    t.Array([], of=t.UInt),
    t.Array([t.Symbol("a"), t.Symbol("b" * 300)], of=t.Symbol),
    t.Array([1, 2], of=int),
    t.Array([uuid.UUID(int=1)], of=uuid.UUID),
    t.Array([[1], [], ["x" * 300]], of=list),
    t.Array([True, False], of=bool),
    t.Array([{"a": 1}, {}], of=dict),
]


@pytest.mark.parametrize("value", ONE_OF_EACH, ids=repr)
def test_every_type_comes_back_as_itself(value: Any) -> None:
    encoded = encode_value(value)
    decoded, end = decode_value(encoded)
    assert decoded == value
    assert type(decoded) is type(value)
    assert end == len(encoded) == skip_value(encoded)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(texts(), inner),
        max_leaves=20,
    )
)
@settings(max_examples=100, deadline=None)
def test_nested_values_come_back_and_are_skipped_to_the_same_place(value: Any) -> None:
    encoded = b"?" + encode_value(value) + b"?"
    assert decode_value(encoded, 1) == (value, len(encoded) - 1)
    assert skip_value(encoded, 1) == len(encoded) - 1


@given(st.binary(max_size=80))
@settings(max_examples=300, deadline=None)
def test_any_bytes_decode_or_raise_decode_error(data: bytes) -> None:
    for read in (decode_value, skip_value):
        try:
            read(data)
        except DecodeError:
            continue


def test_flipped_bits_decode_or_raise_decode_error() -> None:
    dice = random.Random(1)
    whole = encode_value(ONE_OF_EACH)
    for _ in range(2000):
        broken = bytearray(whole)
        for _ in range(3):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        try:
            decode_value(bytes(broken[: dice.randrange(len(broken))]))
        except DecodeError:
            continue


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xd0\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xf0\x00\x00\x00\x05\x7f\xff\xff\xff\x40",
        b"\xb0\x7f\xff\xff\xffabc",
        b"\x00" * 5000,
        b"\xc0\x01" * 5000,
        b"\x3f",
        b"\x56\x02",
        b"\xa1\x01\xff",
        b"\xc1\x02\x01\x40",
        b"\xc1\x04\x02\x45\x40",
        b"\xc0\x05\x01\x40\x40\x40\x40",
    ],
    ids=repr,
)
def test_wrong_bytes_are_refused_before_anything_is_allocated(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_value(data)


def test_nesting_is_bounded() -> None:
    value: list[Any] = []
    for _ in range(40):
        value = [value]
    with pytest.raises(DecodeError, match="nested"):
        decode_value(encode_value(value))


@pytest.mark.parametrize(
    "value", [object(), t.UInt(-1), 1 << 70, "\ud800", t.Symbol("ü"), t.Array([1, "a"], of=int)]
)
def test_what_has_no_amqp_form_is_an_encode_error(value: Any) -> None:
    with pytest.raises(EncodeError):
        encode_value(value)
