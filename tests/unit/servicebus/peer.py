"""An AMQP client of a few lines, which says exactly the frames that a test wants said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from devhost.amqp import message as m
from devhost.amqp import performatives as p
from devhost.amqp.frames import (
    AMQP_HEADER,
    SASL_FRAME,
    SASL_HEADER,
    Frame,
    FrameReader,
    ProtocolHeader,
    encode_frame,
    encode_transfer,
)
from devhost.amqp.sasl import SaslInit, SaslOutcome
from devhost.amqp.types import Symbol
from devhost.servicebus.policies import WELL_KNOWN

ANONYMOUS = SaslInit("ANONYMOUS")
WAIT_SECONDS = 5.0
_Wanted = TypeVar("_Wanted")


class Peer:
    """One connection with one session on channel 0."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frame_size: int
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = FrameReader(max_frame_size=frame_size)
        self.seen: list[Frame | ProtocolHeader] = []
        """What came and was not asked for yet."""
        self.sent = 0

    @classmethod
    async def connect(
        cls,
        port: int,
        *,
        frame_size: int = 65_536,
        window: int = 5_000,
        idle_ms: int | None = None,
        plain: tuple[str, str] | None = (WELL_KNOWN.name, WELL_KNOWN.keys[0]),
    ) -> Peer:
        """Connect with a policy's name and key, or with none: then tokens are to follow."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        peer = cls(reader, writer, frame_size)
        writer.write(SASL_HEADER)
        init = SaslInit("PLAIN", "\0".join(("", *plain)).encode()) if plain else ANONYMOUS
        writer.write(encode_frame(0, init, type=SASL_FRAME))
        if (await peer.hear(SaslOutcome)).code:
            await peer.close()
            raise PermissionError("SASL failed")
        writer.write(AMQP_HEADER)
        peer.say(
            p.Open("peer", max_frame_size=frame_size, idle_time_out=idle_ms),
            p.Begin(None, 0, window, 5_000),
        )
        await peer.hear(p.Begin)
        return peer

    def say(self, *performatives: Any) -> None:
        """Send frames, all in one write."""
        self._writer.write(b"".join(encode_frame(0, each) for each in performatives))

    def send(self, handle: int, payload: bytes) -> None:
        """Send a message as one delivery, cut to small frames."""
        transfer = p.Transfer(handle, self.sent, self.sent.to_bytes(4), 0, False)
        self.sent += 1
        self._writer.write(b"".join(encode_transfer(0, transfer, payload, max_frame_size=9_000)))

    async def hear_frame(self, matches: Callable[[Frame], bool]) -> Frame:
        """The next frame like this; those before it stay in `seen`."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                for item in self.seen:
                    if isinstance(item, Frame) and matches(item):
                        self.seen.remove(item)
                        return item
                data = await self._reader.read(65_536)
                if not data:
                    raise EOFError(f"hung up; heard {self.seen}")
                self.seen += self._frames.feed(data)

    async def hear(self, kind: type[_Wanted], **fields: Any) -> _Wanted:
        """The next performative of a kind with these fields."""

        def matches(frame: Frame) -> bool:
            said = frame.performative
            return isinstance(said, kind) and all(
                getattr(said, name) == value for name, value in fields.items()
            )

        found: _Wanted = (await self.hear_frame(matches)).performative
        return found

    async def hear_message(self, handle: int) -> tuple[p.Transfer, bytes]:
        """The next whole delivery on a link: its first transfer, and the payload."""

        def matches(frame: Frame) -> bool:
            said = frame.performative
            return isinstance(said, p.Transfer) and said.handle == handle

        first = await self.hear_frame(matches)
        payload, last = first.payload, first
        while last.performative.more:
            last = await self.hear_frame(matches)
            payload += last.payload
        return first.performative, payload

    async def quiet(self) -> list[Any]:
        """What is left after the server has answered everything: an echo comes last."""
        self.say(p.Flow(0, 5_000, self.sent, 5_000, echo=True))
        await self.hear(p.Flow, handle=None)
        return [item.performative for item in self.seen if isinstance(item, Frame)]

    def sender(self, handle: int, address: str) -> p.Attach:
        return p.Attach(
            f"sender-{handle}",
            handle,
            False,
            0,
            0,
            p.Source("here"),
            p.Target(address),
            initial_delivery_count=0,
        )

    def receiver(self, handle: int, address: str, *, filters: Any = None, snd: int = 0) -> p.Attach:
        source = p.Source(address, filter=filters)
        return p.Attach(f"receiver-{handle}", handle, True, snd, 1 - snd, source, p.Target("here"))

    def credit(self, handle: int, credit: int, *, count: int = 0, drain: bool = False) -> p.Flow:
        return p.Flow(0, 5_000, 0, 5_000, handle, count, credit, drain=drain or None)

    async def ask(self, request: bytes) -> tuple[dict[str, Any], Any]:
        """Send a request on handle 8, hear the answer on handle 9."""
        self.send(8, request)
        _, payload = await self.hear_message(9)
        parts = m.slice_message(payload)
        assert m.read_properties(parts.properties).correlation_id == "question"
        values = m.read_body(parts.body).values
        return m.read_map(parts.application_properties), values[0]

    def open_node(self, address: str) -> None:
        """Open request and reply links of a node on handles 8 and 9."""
        self.say(self.sender(8, address), self.receiver(9, address), self.credit(9, 100))

    def hang_up(self) -> None:
        """The connection dies without a word."""
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


SESSION = Symbol("com.microsoft:session-filter")


def message(body: bytes = b"body", **fields: Any) -> bytes:
    """An encoded message; `fields` are those of `Properties`."""
    return m.encode_composite_section(m.Properties(**fields)) + m.encode_data_section(body)


def question(properties: dict[str, Any], body: Any) -> bytes:
    """An encoded request."""
    return (
        m.encode_composite_section(m.Properties(message_id="question"))
        + m.encode_map_section(m.APPLICATION_PROPERTIES, properties)
        + m.encode_value_section(body)
    )


def data_of(payload: bytes) -> bytes:
    """The body of a delivered message."""
    data: bytes = m.read_body(m.slice_message(payload).body).values[0]
    return data
