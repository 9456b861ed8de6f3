"""Reads and writes frames. Entry points: `FrameReader.feed`, `encode_frame`, `encode_transfer`.

AMQP 1.0, part 2, section 2.3: size, data offset, type, channel; then the performative and, in a
transfer, a part of the message.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple, get_args

from devhost.amqp import performatives, sasl
from devhost.amqp.composites import append_composite, decode_composite
from devhost.amqp.errors import DecodeError

AMQP_FRAME, SASL_FRAME = 0, 1
AMQP_HEADER, SASL_HEADER = b"AMQP\x00\x01\x00\x00", b"AMQP\x03\x01\x00\x00"
EMPTY_FRAME = b"\x00\x00\x00\x08\x02\x00\x00\x00"
"""A heartbeat."""
MIN_MAX_FRAME_SIZE = 512
"""Every peer must accept frames of this size."""
KNOWN_FRAMES = (
    *get_args(performatives.Performative),
    sasl.SaslMechanisms,
    sasl.SaslInit,
    sasl.SaslChallenge,
    sasl.SaslResponse,
    sasl.SaslOutcome,
)

_HEAD = struct.Struct(">IBBH")


class ProtocolHeader(NamedTuple):
    """Eight bytes that say which protocol follows: 0 AMQP, 2 TLS, 3 SASL."""

    protocol: int
    version: tuple[int, int, int]


class Frame(NamedTuple):
    """One frame; an empty one has no performative."""

    channel: int
    performative: Any
    payload: bytes = b""
    type: int = AMQP_FRAME


class FrameReader:
    """Collects bytes until frames are complete; each has at most `max_frame_size` bytes."""

    def __init__(self, *, max_frame_size: int) -> None:
        self.max_frame_size = max_frame_size
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame | ProtocolHeader]:
        """What `data` completes, in order. After a DecodeError the connection must be closed."""
        if self._rest:
            data = self._rest + data
        found: list[Frame | ProtocolHeader] = []
        position, end = 0, len(data)
        while end - position >= 8:
            size = int.from_bytes(data[position : position + 4])
            if size == _HEADER_AS_SIZE:
                found.append(_read_header(data, position))
                position += 8
                continue
            if size > self.max_frame_size or size < 8:
                raise DecodeError(f"a frame of {size} bytes (8 to {self.max_frame_size} allowed)")
            if end - position < size:
                break
            found.append(_read_frame(data[position : position + size]))
            position += size
        self._rest = data[position:]
        return found


_HEADER_AS_SIZE = int.from_bytes(b"AMQP")


def _read_header(data: bytes, position: int) -> ProtocolHeader:
    protocol, *version = data[position + 4 : position + 8]
    return ProtocolHeader(protocol, (version[0], version[1], version[2]))


def _read_frame(data: bytes) -> Frame:
    size, offset, kind, channel = _HEAD.unpack_from(data)
    start = offset * 4
    if start < 8 or start > size:
        raise DecodeError(f"a frame's data cannot start at {start}")
    if kind > SASL_FRAME:
        raise DecodeError(f"frames of type {kind} are not known")
    if start == size:
        return Frame(channel, None, b"", kind)
    performative, end = decode_composite(data, start)
    if not isinstance(performative, KNOWN_FRAMES):
        raise DecodeError("a frame's body is not a performative")
    return Frame(channel, performative, data[end:], kind)


def encode_frame(
    channel: int, performative: tuple[Any, ...], payload: bytes = b"", *, type: int = AMQP_FRAME
) -> bytes:
    """The frame's bytes. Raises EncodeError."""
    body = bytearray()
    append_composite(body, performative)
    head = _HEAD.pack(8 + len(body) + len(payload), 2, type, channel)
    return b"".join((head, body, payload))


def encode_transfer(
    channel: int, transfer: performatives.Transfer, payload: bytes, *, max_frame_size: int
) -> list[bytes]:
    """Encode a delivery as frames of at most `max_frame_size` bytes, all but the last with `more`.

    The first carries all fields of the transfer, the others only the handle.
    """
    whole = encode_frame(channel, transfer, payload)
    if len(whole) <= max_frame_size:
        return [whole]
    frames, position = [], 0
    piece = transfer._replace(more=True)
    while True:
        room = max_frame_size - len(encode_frame(channel, piece))
        if position + room >= len(payload):
            break
        frames.append(encode_frame(channel, piece, payload[position : position + room]))
        position += room
        piece = performatives.Transfer(handle=transfer.handle, more=True)
    last = piece._replace(more=False)
    frames.append(encode_frame(channel, last, payload[position:]))
    return frames
