"""How does a connection to a Service Bus open, stay alive and end?

One TCP or TLS connection: SASL ANONYMOUS, Open, then sessions by channel. Frames that are sent in
one turn of the loop go out in one write. However it ends, `lost` is set and every session hears.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from typing import Any, cast

from devhost.amqp.errors import AmqpError, DecodeError
from devhost.amqp.frames import (
    AMQP_HEADER,
    EMPTY_FRAME,
    SASL_FRAME,
    SASL_HEADER,
    Frame,
    FrameReader,
    ProtocolHeader,
    encode_frame,
)
from devhost.amqp.performatives import Begin, Close, End, Open
from devhost.amqp.sasl import OK, SaslInit, SaslMechanisms, SaslOutcome
from devhost.functions.bus.address import BusAddress
from devhost.functions.bus.errors import BusError, ConnectionLost
from devhost.functions.bus.session import AmqpSession

OPEN_TIMEOUT_SECONDS = 10.0
CLOSE_TIMEOUT_SECONDS = 0.5
IDLE_MILLISECONDS = 60_000
MAX_FRAME = 1024 * 1024
CHANNELS = 255
_SASL_PROTOCOL = 3


class AmqpConnection(asyncio.Protocol):
    """One connection; `lost` is set when it has ended, with the reason in `error`."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._reader = FrameReader(max_frame_size=MAX_FRAME)
        self._out: list[bytes] = []
        self._sessions: dict[int, AmqpSession] = {}
        self._by_remote: dict[int, AmqpSession] = {}
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._closed_by_peer = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last_received = time.monotonic()
        self.max_frame_size = 512
        self.lost = asyncio.Event()
        self.error: BusError | None = None

    @classmethod
    async def open(cls, address: BusAddress) -> AmqpConnection:
        """Connect. Raises BusError, OSError, or TimeoutError after OPEN_TIMEOUT_SECONDS."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(OPEN_TIMEOUT_SECONDS):
            _, connection = await loop.create_connection(
                lambda: cls(address.host), address.host, address.port, ssl=address.tls or None
            )
            try:
                await connection._opened
            except BaseException:
                connection.abort("it did not open")
                raise
        return connection

    def begin(self) -> AmqpSession:
        """A new session; links may be attached to it at once."""
        channel = len(self._sessions)
        if channel > CHANNELS:
            raise BusError("amqp:resource-limit-exceeded", f"more than {CHANNELS} sessions")
        session = AmqpSession(self, channel)
        self._sessions[channel] = session
        session.begin()
        return session

    def send(self, channel: int, performative: tuple[Any, ...], payload: bytes = b"") -> None:
        """Send a frame, or nothing if the connection is lost."""
        self.send_encoded(encode_frame(channel, performative, payload))

    def send_encoded(self, frame: bytes) -> None:
        """Send a frame that is encoded already."""
        if self.lost.is_set():
            return
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(frame)

    async def close(self) -> None:
        """Say goodbye, and end it."""
        if not self.lost.is_set():
            self.send(0, Close())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                    await self._closed_by_peer.wait()
        self.abort("it was closed")

    def abort(self, reason: str) -> None:
        """End it without a word."""
        self._lose(ConnectionLost(reason))

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with SASL, as Service Bus wants."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(SASL_HEADER)

    def data_received(self, data: bytes) -> None:
        """Act on the frames that are complete now."""
        self._last_received = time.monotonic()
        try:
            for item in self._reader.feed(data):
                if isinstance(item, ProtocolHeader):
                    self._check_header(item)
                elif item.type == SASL_FRAME:
                    self._on_sasl(item.performative)
                else:
                    self._on_frame(item)
        except (AmqpError, BusError) as error:
            self.abort(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._lose(ConnectionLost(str(exc) if exc else "the broker ended it"))

    # Frames

    def _check_header(self, header: ProtocolHeader) -> None:
        if header.version != (1, 0, 0) or header.protocol not in (0, _SASL_PROTOCOL):
            raise DecodeError(f"the peer speaks another protocol: {header}")

    def _on_sasl(self, performative: object) -> None:
        if isinstance(performative, SaslMechanisms):
            init = SaslInit("ANONYMOUS", None, self._host)
            self.send_encoded(encode_frame(0, init, type=SASL_FRAME))
        elif isinstance(performative, SaslOutcome):
            if performative.code != OK:
                raise BusError("amqp:unauthorized-access", "the broker refuses SASL ANONYMOUS")
            self.send_encoded(AMQP_HEADER)
            name = f"devhost-functions-{uuid.uuid4().hex[:8]}"
            self.send(0, Open(name, self._host, MAX_FRAME, CHANNELS, IDLE_MILLISECONDS))

    def _on_frame(self, frame: Frame) -> None:
        match frame.performative:
            case None:
                return
            case Open() as opened:
                self._on_open(opened)
            case Close(error=error):
                self._closed_by_peer.set()
                self.send(0, Close())
                self._flush()
                self._lose(ConnectionLost(str(BusError.of(error, "the broker closed it"))))
            case Begin(remote_channel=channel) as begun if channel in self._sessions:
                self._by_remote[frame.channel] = self._sessions[channel]
                self._sessions[channel].on_begin(begun)
            case End(error=error):
                raise BusError.of(error, "the broker ended the session")
            case performative:
                session = self._by_remote.get(frame.channel)
                if session is not None:
                    session.on_frame(performative, frame.payload)

    def _on_open(self, opened: Open) -> None:
        self.max_frame_size = min(opened.max_frame_size or MAX_FRAME, MAX_FRAME)
        idle = (opened.idle_time_out or IDLE_MILLISECONDS * 4) / 1000
        self._beat(min(idle / 3, IDLE_MILLISECONDS / 3000))
        if not self._opened.done():
            self._opened.set_result(None)

    def _beat(self, seconds: float) -> None:
        silent = time.monotonic() - self._last_received
        if silent * 1000 > IDLE_MILLISECONDS * 2:
            self.abort(f"the broker has been silent for {silent:.0f} s")
            return
        self.send_encoded(EMPTY_FRAME)
        self._timer = self._loop.call_later(seconds, self._beat, seconds)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(out))

    def _lose(self, error: ConnectionLost) -> None:
        if self.lost.is_set():
            return
        self.error = error
        self.lost.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()
        if not self._opened.done():
            self._opened.set_exception(error)
        for session in self._sessions.values():
            session.on_lost(error)
