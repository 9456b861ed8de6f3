"""Speaks AMQP on one TCP connection, from its first bytes to its last. Entry point: `Connection`.

Headers, SASL, Open, heartbeats, Close; frames go on to their session. What is sent in one turn
of the event loop goes out in one write, after the turn's changes are on disk.
"""

from __future__ import annotations

import asyncio

from devhost.amqp import performatives as p
from devhost.amqp.errors import AmqpError
from devhost.amqp.frames import (
    AMQP_HEADER,
    EMPTY_FRAME,
    MIN_MAX_FRAME_SIZE,
    SASL_FRAME,
    SASL_HEADER,
    Frame,
    FrameReader,
    ProtocolHeader,
    encode_frame,
)
from devhost.amqp.sasl import AUTHENTICATION_FAILED, OK, SaslInit, SaslMechanisms, SaslOutcome
from devhost.servicebus.broker import Broker
from devhost.servicebus.claims import say_refused
from devhost.servicebus.errors import (
    CONNECTION_FORCED,
    FRAMING_ERROR,
    NOT_ALLOWED,
    UNAUTHORIZED,
    BusError,
    TokenError,
)
from devhost.servicebus.grants import Grants
from devhost.servicebus.policies import Grant
from devhost.servicebus.session import Session

MAX_FRAME_SIZE = 65_536
MAX_SENT_FRAME_SIZE = 1_048_576
"""The largest frame we send, whatever the peer would take."""
CHANNEL_MAX = 4_999
IDLE_TIME_OUT_MS = 240_000
TOKEN_TIMEOUT_MS = 20_000
"""How long a connection may be open without a valid token, as in Azure."""
MECHANISMS = ("MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL")
_SASL, _AMQP = 3, 0


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, broker: Broker, *, opened: set[Connection]) -> None:
        self.broker = broker
        self.peer_frame_size = MIN_MAX_FRAME_SIZE
        self.closed = asyncio.Event()
        self.grants = Grants(broker.agenda.now_ms)
        self._opened = opened
        self._reader = FrameReader(max_frame_size=MAX_FRAME_SIZE)
        self._sessions: dict[int, Session] = {}
        self._output: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._is_open = False
        self._closing = False
        self._heard_ms = self._sent_ms = broker.agenda.now_ms()

    @property
    def sessions(self) -> list[Session]:
        """The sessions that have begun and not ended."""
        return list(self._sessions.values())

    def grant(self, grant: Grant) -> None:
        """Let the client do what a token allows; when it ends, the links on it end too."""
        self.grants.put(grant)
        if grant.until_ms is not None:
            self.broker.agenda.at(grant.until_ms, self._end_refused_links)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._opened.add(self)
        self._watch_silence()

    def connection_lost(self, exc: Exception | None) -> None:
        """All that hung on it ends at once: its sessions' locks too."""
        self._transport = None
        self._opened.discard(self)
        self.closed.set()
        self._end_sessions()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._heard_ms = self.broker.agenda.now_ms()
        try:
            for item in self._reader.feed(data):
                if self._closing:
                    return
                if isinstance(item, ProtocolHeader):
                    self._on_header(item)
                else:
                    self._on_frame(item)
        except AmqpError as error:
            self.close(BusError(FRAMING_ERROR, f"The connection's bytes are wrong: {error}."))

    def send(self, channel: int, performative: p.Performative) -> None:
        """Send a frame at the end of this turn."""
        self.send_encoded(encode_frame(channel, performative))

    def send_encoded(self, frame: bytes) -> None:
        """The same with a frame that is encoded already."""
        if not self._output:
            self.broker.turn.at_end(self._write)
        self._output.append(frame)

    def close(self, refusal: BusError | None = None) -> None:
        """Say goodbye, with a reason if there is one, and hang up."""
        if self._closing:
            return
        self._end_sessions()
        if self._is_open:
            error = self.broker.error(refusal) if refusal is not None else None
            self.send(0, p.Close(error))
        self._hang_up()

    def force_close(self) -> None:
        """The Service Bus stops."""
        self.close(BusError(CONNECTION_FORCED, "The Service Bus is shutting down."))

    def _write(self) -> None:
        output, self._output = self._output, []
        if self._transport is None:
            return
        if output:
            self._sent_ms = self.broker.agenda.now_ms()
            self._transport.write(output[0] if len(output) == 1 else b"".join(output))
        if self._closing:
            self._transport.close()

    def _hang_up(self) -> None:
        self._closing = True
        self.broker.turn.at_end(self._write)

    def _end_sessions(self) -> None:
        sessions, self._sessions = self.sessions, {}
        for session in sessions:
            session.on_ended()

    def _on_header(self, header: ProtocolHeader) -> None:
        if header == ProtocolHeader(_SASL, (1, 0, 0)):
            self.send_encoded(SASL_HEADER)
            offer = SaslMechanisms(list(MECHANISMS))
            self.send_encoded(encode_frame(0, offer, type=SASL_FRAME))
        else:
            self.send_encoded(AMQP_HEADER)
            if header != ProtocolHeader(_AMQP, (1, 0, 0)):
                self._hang_up()

    def _on_frame(self, frame: Frame) -> None:
        performative = frame.performative
        match performative:
            case None:
                return
            case SaslInit():
                self._on_sasl(performative)
            case p.Open():
                self._on_open(performative)
            case p.Begin() if self._is_open:
                self._on_begin(frame.channel, performative)
            case p.End():
                self._on_end(frame.channel)
            case p.Close():
                self.close()
            case _:
                session = self._sessions.get(frame.channel)
                if session is not None:
                    session.on_frame(performative, frame.payload)

    def _on_sasl(self, init: SaslInit) -> None:
        """PLAIN brings a policy's name and key; the other mechanisms leave it to `$cbs`."""
        known = init.mechanism in MECHANISMS
        if init.mechanism == "PLAIN":
            known = self._grant_plain(init.initial_response or b"")
        outcome = SaslOutcome(OK if known else AUTHENTICATION_FAILED)
        self.send_encoded(encode_frame(0, outcome, type=SASL_FRAME))
        if not known:
            self._hang_up()

    def _grant_plain(self, response: bytes) -> bool:
        try:
            _, name, key = response.decode().split("\0")
            self.grant(self.broker.policies.check_key(name, key))
        except TokenError as error:
            say_refused(401, str(error))
            return False
        except ValueError:
            say_refused(401, "SASL PLAIN must bring the name of a policy and its key.")
            return False
        return True

    def _on_open(self, opening: p.Open) -> None:
        if self._is_open:
            self.close(BusError(NOT_ALLOWED, "The connection is open already."))
            return
        self._is_open = True
        size = MAX_SENT_FRAME_SIZE if opening.max_frame_size is None else opening.max_frame_size
        self.peer_frame_size = max(MIN_MAX_FRAME_SIZE, min(size, MAX_SENT_FRAME_SIZE))
        self.send(
            0,
            p.Open(
                self.broker.container_id,
                max_frame_size=MAX_FRAME_SIZE,
                channel_max=CHANNEL_MAX,
                idle_time_out=IDLE_TIME_OUT_MS,
            ),
        )
        agenda = self.broker.agenda
        agenda.at(agenda.now_ms() + TOKEN_TIMEOUT_MS, self._expect_token)
        if opening.idle_time_out:
            self._beat(max(opening.idle_time_out // 3, 100))

    def _expect_token(self) -> None:
        """Hang up on a client that has not said in time who it is."""
        if self._transport is not None and not self.grants:
            seconds = TOKEN_TIMEOUT_MS // 1_000
            reason = f"No valid token was put to $cbs within {seconds} s."
            self.close(BusError(UNAUTHORIZED, reason))

    def _end_refused_links(self) -> None:
        for session in self.sessions:
            session.end_refused_links()

    def _on_begin(self, channel: int, begin: p.Begin) -> None:
        if channel > CHANNEL_MAX or channel in self._sessions:
            self.close(BusError(NOT_ALLOWED, f"Channel {channel} is in use or too high."))
            return
        self._sessions[channel] = Session(self, channel, begin)

    def _on_end(self, channel: int) -> None:
        session = self._sessions.pop(channel, None)
        if session is not None:
            session.on_ended()
            self.send(channel, p.End())

    def _beat(self, period_ms: int) -> None:
        """Never be silent for longer than the client allows."""
        if self._transport is None or self._closing:
            return
        now_ms = self.broker.agenda.now_ms()
        if now_ms - self._sent_ms >= period_ms // 2:
            self.send_encoded(EMPTY_FRAME)
        self.broker.agenda.at(now_ms + period_ms, lambda: self._beat(period_ms))

    def _watch_silence(self) -> None:
        """Hang up on a client that is silent for longer than we allow."""
        if self._transport is None or self._closing:
            return
        agenda = self.broker.agenda
        if agenda.now_ms() - self._heard_ms > IDLE_TIME_OUT_MS:
            self.close(BusError(CONNECTION_FORCED, "The connection was idle for too long."))
            return
        agenda.at(agenda.now_ms() + IDLE_TIME_OUT_MS // 4, self._watch_silence)
