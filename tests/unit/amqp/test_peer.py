"""Do two peers of the same code open, credit, carry, settle and end as AMQP 1.0 says?"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from devhost.amqp import performatives as p
from devhost.amqp.connection import Connection, Limits
from devhost.amqp.frames import ProtocolHeader
from devhost.amqp.link import Link, LinkRefused
from devhost.amqp.receiver import Receiver
from devhost.amqp.sender import QueuedSender
from devhost.amqp.session import Session

BOUND_SECONDS = 5.0
LIMITS = Limits(max_frame_size=512, channel_max=7, idle_seconds=60, silence_seconds=120)
MAX_MESSAGE_SIZE = 3_000_000


class Target(Receiver):
    """Takes four deliveries at a time and notes them."""

    def __init__(self, session: Session, attach: p.Attach) -> None:
        super().__init__(
            session, attach.name, attach.handle, refill=4, max_message_size=MAX_MESSAGE_SIZE
        )
        self.got: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.ended: asyncio.Queue[p.Error | None] = asyncio.Queue()
        session.accept(attach)

    def on_delivery(self, transfer: p.Transfer, payload: bytes | None) -> None:
        self.got.put_nowait(payload)

    def on_ended(self, error: p.Error | None) -> None:
        self.ended.put_nowait(error)


class Source(QueuedSender):
    """Sends and notes how its link ends and what is settled."""

    def __init__(self, session: Session, name: str = "link") -> None:
        super().__init__(session, name, settled=False)
        self.ended: asyncio.Queue[p.Error | None] = asyncio.Queue()
        self.settled: asyncio.Queue[Any] = asyncio.Queue()
        session.attach(self, p.Attach(name, -1, False, target=p.Target("place")))

    def on_settled(self, delivery_id: int, delivery: Any, disposition: p.Disposition) -> None:
        self.settled.put_nowait((delivery_id, disposition.state))

    def on_ended(self, error: p.Error | None) -> None:
        super().on_ended(error)
        self.ended.put_nowait(error)


class Peer(Connection):
    """A connection without SASL, whose first side sends its Open at once."""

    def __init__(self, name: str, *, opens: bool = False, limits: Limits = LIMITS) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(name, limits, plan_write=loop.call_soon)
        self.targets: asyncio.Queue[Target] = asyncio.Queue()
        self.opened = asyncio.Event()
        self._opens = opens

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._opens:
            self.send_open()

    def on_header(self, header: ProtocolHeader) -> None:
        raise AssertionError(header)

    def on_opened(self) -> None:
        self.opened.set()

    def open_link(self, session: Session, attach: p.Attach) -> Link:
        if self._opens:
            return super().open_link(session, attach)
        if attach.name == "unwanted":
            raise LinkRefused(p.Error("amqp:not-found", "no such place", {}))
        target = Target(session, attach)
        self.targets.put_nowait(target)
        return target


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Peer, Peer]]:
    """The peer that opens links, and the peer that is asked for them."""
    loop = asyncio.get_running_loop()
    ends = socket.socketpair()
    peers = Peer("asking", opens=True), Peer("asked")
    for peer, end in zip(peers, ends, strict=True):
        await loop.create_connection(lambda peer=peer: peer, sock=end)  # type: ignore[misc]
    try:
        async with asyncio.timeout(BOUND_SECONDS):
            await peers[0].opened.wait()
            yield peers
    finally:
        for peer in peers:
            peer.abort()
            await peer.lost.wait()


async def test_a_delivery_of_more_frames_than_the_window_arrives_whole() -> None:
    async with connected() as (asking, asked):
        source = Source(asking.begin())
        target = await asked.targets.get()
        target.grant(4)
        body = bytes(number % 251 for number in range(2_900_000))
        source.send(body)
        assert await target.got.get() == body


async def test_messages_wait_for_credit_and_keep_their_order() -> None:
    async with connected() as (asking, asked):
        source = Source(asking.begin())
        target = await asked.targets.get()
        bodies = [str(number).encode() for number in range(40)]
        for body in bodies:
            source.send(body)
        target.grant(1)
        assert [await target.got.get() for _ in bodies] == bodies


async def test_of_a_delivery_that_is_too_large_only_the_first_transfer_arrives() -> None:
    async with connected() as (asking, asked):
        source = Source(asking.begin())
        target = await asked.targets.get()
        target.grant(4)
        source.send(b"x" * (MAX_MESSAGE_SIZE + 1))
        source.send(b"next")
        assert [await target.got.get() for _ in range(2)] == [None, b"next"]


async def test_an_aborted_delivery_is_dropped() -> None:
    async with connected() as (asking, asked):
        source = Source(asking.begin())
        target = await asked.targets.get()
        target.grant(4)
        source.session.send(p.Transfer(source.handle, 0, b"tag", 0, False, more=True))
        source.session.send(p.Transfer(source.handle, more=True, aborted=True))
        source.send(b"next")
        assert await target.got.get() == b"next"


async def test_a_settlement_reaches_the_sender_and_is_answered_only_where_asked() -> None:
    async with connected() as (asking, asked):
        source = Source(asking.begin())
        target = await asked.targets.get()
        target.grant(4)
        for body in (b"first", b"second"):
            source.send(body)
            await target.got.get()
        target.session.settle(0, p.Accepted())
        target.session.ask_to_settle(target, 1, p.Released(), None)
        assert [await source.settled.get() for _ in range(2)] == [
            (0, p.Accepted()),
            (1, p.Released()),
        ]
        waiting = asyncio.ensure_future(target.session.wait_settled())
        source.session.send(p.Disposition(False, 1, None, True, p.Released()))
        await waiting


async def test_a_refused_link_ends_with_the_reason_and_its_handle_is_free_again() -> None:
    async with connected() as (asking, asked):
        session = asking.begin()
        refused = Source(session, "unwanted")
        assert await refused.ended.get() == p.Error("amqp:not-found", "no such place", {})
        assert Source(session, "wanted").handle == refused.handle
        target = await asked.targets.get()
        stranger = Source(target.session, "stranger")
        error = await stranger.ended.get()
        assert (error and error.condition) == "amqp:not-allowed"


async def test_a_link_that_is_asked_to_detach_ends_on_both_sides() -> None:
    async with connected() as (asking, asked):
        source = Source(asking.begin())
        target = await asked.targets.get()
        target.session.detach(target)
        assert (await source.ended.get(), await target.ended.get()) == (None, None)


async def test_when_a_peer_closes_the_other_answers_and_all_links_end() -> None:
    async with connected() as (asking, asked):
        source = Source(asking.begin())
        await asked.targets.get()
        asked.close(p.Error("amqp:connection:forced", "bye", {}))
        error = await source.ended.get()
        assert error == p.Error("amqp:connection:forced", "bye", {})
        await asking.lost.wait()
        late = Source(source.session, "late")
        assert await late.ended.get() == error


async def test_a_polite_close_ends_when_the_other_has_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("devhost.amqp.connection.CLOSE_TIMEOUT_SECONDS", 10 * BOUND_SECONDS)
    async with connected() as (asking, asked):
        source = Source(asking.begin())
        target = await asked.targets.get()
        await asking.close_politely()
        await asked.lost.wait()
        for link in (source, target):
            error = await link.ended.get()
            assert (error and error.condition) == "amqp:connection:forced"


async def test_a_silent_peer_is_left() -> None:
    loop = asyncio.get_running_loop()
    limits = Limits(max_frame_size=512, channel_max=7, idle_seconds=0.04, silence_seconds=0.08)
    ours, theirs = socket.socketpair()
    peer = Peer("alone", opens=True, limits=limits)
    await loop.create_connection(lambda: peer, sock=ours)
    async with asyncio.timeout(BOUND_SECONDS):
        await peer.lost.wait()
    assert peer.error is not None
    assert "silent" in (peer.error.description or "")
    theirs.close()


@pytest.mark.parametrize("data", [b"\x00\x00\x00\x01\x02\x00\x00\x00", b"\xff" * 16])
async def test_wrong_bytes_end_the_connection(data: bytes) -> None:
    async with connected() as (asking, asked):
        asking.send_encoded(data)
        await asked.lost.wait()
        assert asked.error is not None
        assert asked.error.condition == "amqp:connection:framing-error"
