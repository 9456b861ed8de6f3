"""Are frames cut, read and written as AMQP 1.0 says, whatever the pieces they arrive in?"""

from __future__ import annotations

import random
from typing import Any

import pytest

from devhost.amqp import performatives as p
from devhost.amqp import sasl
from devhost.amqp.composites import decode_composite, encode_composite
from devhost.amqp.encode import encode_value
from devhost.amqp.errors import DecodeError, EncodeError
from devhost.amqp.frames import (
    EMPTY_FRAME,
    SASL_FRAME,
    SASL_HEADER,
    Frame,
    FrameReader,
    ProtocolHeader,
    encode_frame,
    encode_transfer,
)
from devhost.amqp.types import Described, Symbol, UInt, ULong

COMPOSITES: list[Any] = [
    p.Open("me", max_frame_size=65536, channel_max=10, idle_time_out=1000, properties={}),
    p.Begin(None, 0, 5000, 5000),
    p.Attach(
        "link",
        0,
        True,
        snd_settle_mode=0,
        rcv_settle_mode=1,
        source=p.Source("q", filter={Symbol("f"): None}, default_outcome=p.Released()),
        target=p.Target("t", capabilities=["a", "b"]),
        initial_delivery_count=0,
        max_message_size=262144,
    ),
    p.Attach("txn", 1, False, target=Described(ULong(0x30), [])),
    p.Flow(0, 1, 2, 3, handle=4, delivery_count=5, link_credit=6, drain=True),
    p.Transfer(0, 1, b"tag", 0, False, True, state=p.Accepted(), batchable=True),
    p.Disposition(True, 1, 2, settled=False, state=p.Rejected(p.Error("a:b", "why", {}))),
    p.Disposition(False, 1, state=p.Modified(True, False, {Symbol("x"): 1})),
    p.Disposition(False, 1, state=p.Received(0, 7)),
    p.Detach(3, True, p.Error("amqp:not-found")),
    p.End(),
    p.Close(p.Error("amqp:internal-error", "sorry")),
    sasl.SaslMechanisms(["ANONYMOUS"]),
    sasl.SaslInit("PLAIN", b"\0user\0key"),
    sasl.SaslOutcome(0),
]


@pytest.mark.parametrize("value", COMPOSITES, ids=lambda value: type(value).__name__)
def test_performatives_come_back_as_they_were(value: Any) -> None:
    kind = SASL_FRAME if type(value).__module__ == sasl.__name__ else 0
    reader = FrameReader(max_frame_size=65536)
    assert reader.feed(encode_frame(3, value, b"payload", type=kind)) == [
        Frame(3, value, b"payload", kind)
    ]


def test_descriptors_may_be_symbols() -> None:
    data = encode_value(Described(Symbol("amqp:detach:list"), [UInt(1)]))
    assert decode_composite(data)[0] == p.Detach(1)


def test_descriptors_are_written_as_small_ulongs() -> None:
    assert encode_composite(p.Flow(None, 1, 0, 1))[:3] == b"\x00\x53\x13"


@pytest.mark.parametrize(
    "value",
    [
        Described(ULong(0x16), []),
        Described(ULong(0x16), ["handle"]),
        Described(ULong(0x16), [UInt(1), True, None, None]),
        Described(ULong(0x16), {}),
    ],
    ids=repr,
)
def test_a_performative_with_wrong_fields_is_refused(value: Any) -> None:
    with pytest.raises(DecodeError):
        decode_composite(encode_value(value))


def test_a_field_that_does_not_fit_is_an_encode_error() -> None:
    with pytest.raises(EncodeError):
        encode_composite(p.Detach(-1))
    with pytest.raises(EncodeError):
        encode_composite(p.Open(5))  # type: ignore[arg-type]


def test_frames_arrive_in_any_pieces() -> None:
    stream = SASL_HEADER + b"".join(
        encode_frame(n, value, b"x" * n, type=1 if type(value).__module__ == sasl.__name__ else 0)
        for n, value in enumerate(COMPOSITES)
    )
    stream += EMPTY_FRAME
    whole = FrameReader(max_frame_size=65536).feed(stream)
    assert whole[0] == ProtocolHeader(3, (1, 0, 0))
    assert whole[-1] == Frame(0, None)
    dice = random.Random(7)
    for _ in range(20):
        reader, found, position = FrameReader(max_frame_size=65536), [], 0
        while position < len(stream):
            step = dice.randrange(1, 60)
            found += reader.feed(stream[position : position + step])
            position += step
        assert found == whole


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00\x00\x04\x02\x00\x00\x00",
        b"\x00\x10\x00\x00\x02\x00\x00\x00",
        b"\x00\x00\x00\x0c\x01\x00\x00\x00\x00\x53\x17\x45",
        b"\x00\x00\x00\x0c\x02\x07\x00\x00\x00\x53\x17\x45",
        b"\x00\x00\x00\x0c\x02\x00\x00\x00\x00\x53\x24\x45",
        b"\x00\x00\x00\x0b\x02\x00\x00\x00\x00\x53\x17",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=repr,
)
def test_wrong_frames_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        FrameReader(max_frame_size=65536).feed(data)


@pytest.mark.parametrize("size", [0, 1, 400, 480, 490, 500, 512, 1000, 5000])
def test_a_payload_is_cut_to_the_peers_frame_size(size: int) -> None:
    payload = bytes(n % 251 for n in range(size))
    transfer = p.Transfer(0, 300, b"t" * 16, 0, False)
    frames = encode_transfer(1, transfer, payload, max_frame_size=512)
    read = [FrameReader(max_frame_size=512).feed(frame)[0] for frame in frames]
    assert b"".join(frame.payload for frame in read if isinstance(frame, Frame)) == payload
    mores = [frame.performative.more for frame in read if isinstance(frame, Frame)]
    assert [bool(more) for more in mores] == [True] * (len(frames) - 1) + [False]
