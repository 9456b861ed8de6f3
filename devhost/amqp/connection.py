"""Reads and writes the frames of one AMQP connection, for either role. Entry point: `Connection`.

AMQP 1.0, part 2, section 2.4: Open, Close, heartbeats and sessions. What differs between a server
and a client is in subclasses: the protocol header, SASL, and which links the peer may open.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from devhost.amqp import performatives as p
from devhost.amqp.errors import CONNECTION_FORCED, FRAMING_ERROR, NOT_ALLOWED, AmqpError
from devhost.amqp.frames import (
    EMPTY_FRAME,
    MIN_MAX_FRAME_SIZE,
    SASL_FRAME,
    Frame,
    FrameReader,
    ProtocolHeader,
    encode_frame,
)
from devhost.amqp.link import Link, LinkRefused
from devhost.amqp.session import Session

MAX_SENT_FRAME_SIZE = 1_048_576
"""The largest frame that is sent, whatever the peer would take."""
CLOSE_TIMEOUT_SECONDS = 0.5
"""How long a close waits for the peer, and for the socket to take what is still to be written."""
SHORTEST_BEAT_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a peer tells in its Open, and how long it stays connected to a silent peer."""

    max_frame_size: int
    channel_max: int
    idle_seconds: float
    silence_seconds: float


class Connection(asyncio.Protocol):
    """One connection. `lost` is set when it has ended, with the reason in `error`.

    `plan_write` calls a function once, soon: all frames that are sent until then leave in one
    write.
    """

    def __init__(
        self,
        container_id: str,
        limits: Limits,
        *,
        plan_write: Callable[[Callable[[], None]], object],
        hostname: str | None = None,
    ) -> None:
        self.hostname = hostname
        self.peer_frame_size = MIN_MAX_FRAME_SIZE
        self.lost = asyncio.Event()
        self.error: p.Error | None = None
        self.is_open = False
        """The peer's Open has come."""
        self.is_closing = False
        self._container_id = container_id
        self._limits = limits
        self._plan_write = plan_write
        self._reader = FrameReader(max_frame_size=limits.max_frame_size)
        self._sessions: dict[int, Session] = {}
        self._begun: dict[int, Session] = {}
        self._output: list[bytes] = []
        self._open_sent = False
        self._close_sent = False
        self._loop = asyncio.get_running_loop()
        self._heard = self._sent = self._loop.time()
        self._beat_seconds = 0.0
        self._watch_timer: asyncio.TimerHandle | None = None
        self._abort_timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    # What a role adds

    def on_header(self, header: ProtocolHeader) -> None:
        """Handle a protocol header."""
        raise NotImplementedError

    def on_sasl(self, performative: object) -> None:
        """Handle a SASL frame."""
        raise NotImplementedError

    def on_opened(self) -> None:
        """Both peers have opened the connection."""

    def on_session_ended(self, error: p.Error | None) -> None:
        """The peer has ended a session."""

    def open_link(self, session: Session, attach: p.Attach) -> Link:
        """Make the link that the peer's Attach asks for. Raises LinkRefused."""
        raise LinkRefused(p.Error(NOT_ALLOWED, "This peer opens all links itself.", {}))

    # What both roles do

    @property
    def sessions(self) -> list[Session]:
        """The sessions that have begun and not ended."""
        return list(self._sessions.values())

    def begin(self) -> Session:
        """Begin a session; links may be attached to it at once."""
        channel = len(self._sessions) + len(self._begun)
        if channel > self._limits.channel_max:
            raise AmqpError(f"a connection has at most {self._limits.channel_max + 1} sessions")
        session = self._begun[channel] = Session(self, channel, self.open_link)
        session.begin()
        return session

    def send(self, channel: int, performative: p.Performative) -> None:
        """Send a frame."""
        self.send_encoded(encode_frame(channel, performative))

    def send_encoded(self, frame: bytes) -> None:
        """Send a frame that is encoded already."""
        if not self._output:
            self._plan_write(self._write)
        self._output.append(frame)

    def send_open(self) -> None:
        """Send our Open."""
        limits = self._limits
        self._open_sent = True
        self.send(
            0,
            p.Open(
                self._container_id,
                self.hostname,
                limits.max_frame_size,
                limits.channel_max,
                int(limits.idle_seconds * 1_000),
            ),
        )

    def close(self, error: p.Error | None = None) -> None:
        """Send Close with a reason if there is one, and hang up when it is written."""
        if self.is_closing:
            return
        self._end_sessions(error or p.Error(CONNECTION_FORCED, "it was closed"))
        self._send_close(error)
        self.hang_up()

    async def close_politely(self) -> None:
        """Send Close, wait briefly for the Close of the peer, and hang up."""
        if self.is_open and not self.is_closing:
            self._send_close(None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                    await self.lost.wait()
        self.close()
        self.abort()

    def hang_up(self) -> None:
        """Close the socket when everything is written, or soon in any case."""
        self.is_closing = True
        self._plan_write(self._write)
        if self._abort_timer is None:
            self._abort_timer = self._loop.call_later(CLOSE_TIMEOUT_SECONDS, self.abort)

    def abort(self) -> None:
        """Close the socket at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol: everything on the connection ends at once."""
        self._transport = None
        self.is_closing = True
        for timer in (self._watch_timer, self._abort_timer):
            if timer is not None:
                timer.cancel()
        reason = str(exc) if exc else "the peer ended it"
        self._end_sessions(p.Error(CONNECTION_FORCED, reason))
        self.lost.set()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._heard = self._loop.time()
        try:
            for item in self._reader.feed(data):
                if self.is_closing:
                    return
                if isinstance(item, Frame):
                    self._on_frame(item)
                else:
                    self.on_header(item)
        except AmqpError as error:
            text = f"The connection's bytes are wrong: {error}."
            self.close(p.Error(FRAMING_ERROR, text, {}))

    def _on_frame(self, frame: Frame) -> None:
        match frame.performative:
            case (
                p.Transfer() | p.Disposition() | p.Flow() | p.Attach() | p.Detach() as performative
            ):
                session = self._sessions.get(frame.channel)
                if session is not None:
                    session.on_frame(performative, frame.payload)
            case None:
                return
            case performative if frame.type == SASL_FRAME:
                self.on_sasl(performative)
            case p.Open() as opening:
                self._on_open(opening)
            case p.Begin() as begin if self.is_open:
                self._on_begin(frame.channel, begin)
            case p.End(error):
                self._on_end(frame.channel, error)
            case p.Close(error):
                self._end_sessions(error or p.Error(CONNECTION_FORCED, "the peer closed it"))
                self._send_close(None)
                self.hang_up()

    def _on_open(self, opening: p.Open) -> None:
        if self.is_open:
            self.close(p.Error(NOT_ALLOWED, "The connection is open already.", {}))
            return
        self.is_open = True
        size = MAX_SENT_FRAME_SIZE if opening.max_frame_size is None else opening.max_frame_size
        self.peer_frame_size = max(MIN_MAX_FRAME_SIZE, min(size, MAX_SENT_FRAME_SIZE))
        if not self._open_sent:
            self.send_open()
        if opening.idle_time_out:
            self._beat_seconds = max(opening.idle_time_out / 3_000, SHORTEST_BEAT_SECONDS)
            self._watch()
        self.on_opened()

    def _on_begin(self, channel: int, begin: p.Begin) -> None:
        ours = begin.remote_channel
        session = self._begun.pop(ours, None) if ours is not None else None
        if session is None:
            if channel > self._limits.channel_max or channel in self._sessions:
                text = f"Channel {channel} is in use or too high."
                self.close(p.Error(NOT_ALLOWED, text, {}))
                return
            session = Session(self, channel, self.open_link)
            session.begin(channel)
        session.on_begin(begin)
        self._sessions[channel] = session

    def _on_end(self, channel: int, error: p.Error | None) -> None:
        session = self._sessions.pop(channel, None)
        if session is not None:
            session.end(error or p.Error(CONNECTION_FORCED, "the peer ended the session"))
            self.send(session.channel, p.End())
            self.on_session_ended(error)

    def _end_sessions(self, error: p.Error) -> None:
        if self.error is None:
            self.error = error
        sessions = [*self._sessions.values(), *self._begun.values()]
        self._sessions, self._begun = {}, {}
        for session in sessions:
            session.end(error)

    def _send_close(self, error: p.Error | None) -> None:
        if self.is_open and not self._close_sent:
            self._close_sent = True
            self.send(0, p.Close(error))

    def _watch(self) -> None:
        """Send heartbeats as often as the peer asks; close the connection if the peer is silent."""
        if self._transport is None or self.is_closing:
            return
        now, limits = self._loop.time(), self._limits
        if now - self._heard > limits.silence_seconds:
            text = f"The peer was silent for {now - self._heard:.0f} s."
            self.close(p.Error(CONNECTION_FORCED, text, {}))
            return
        if self._beat_seconds and now - self._sent >= self._beat_seconds / 2:
            self.send_encoded(EMPTY_FRAME)
        period = min(self._beat_seconds or limits.idle_seconds / 4, limits.idle_seconds / 4)
        if self._watch_timer is not None:
            self._watch_timer.cancel()
        self._watch_timer = self._loop.call_later(period, self._watch)

    def _write(self) -> None:
        output, self._output = self._output, []
        if self._transport is None:
            return
        if output:
            self._sent = self._loop.time()
            self._transport.write(output[0] if len(output) == 1 else b"".join(output))
        if self.is_closing:
            self._transport.close()


def encode_sasl(performative: tuple[Any, ...]) -> bytes:
    """A SASL frame's bytes."""
    return encode_frame(0, performative, type=SASL_FRAME)
