"""A broker that does what a test tells it, on the codec alone: for the pump's unit tests.

It answers SASL, Open, Begin, claims and lock renewals, hands out what `messages` holds, and keeps
what it was told: `dispositions`, `claims`, `renewals`, `detached`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

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
from devhost.amqp.message import (
    APPLICATION_PROPERTIES,
    Properties,
    encode_composite_section,
    encode_data_section,
    encode_map_section,
    encode_value_section,
    read_body,
    read_map,
    read_properties,
    slice_message,
)
from devhost.amqp.performatives import (
    Accepted,
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    Error,
    Flow,
    Modified,
    Open,
    Rejected,
    Source,
    Target,
    Transfer,
)
from devhost.amqp.sasl import SaslInit, SaslMechanisms, SaslOutcome
from devhost.amqp.types import Array, Int, Symbol, Timestamp

SESSION_FILTER = "com.microsoft:session-filter"


def message(body: bytes, *, message_id: str = "m", session_id: str | None = None) -> bytes:
    """An encoded message."""
    return encode_composite_section(
        Properties(message_id=message_id, group_id=session_id)
    ) + encode_data_section(body)


@dataclass(slots=True)
class _Link:
    channel: int
    handle: int
    address: str
    attach: Attach
    credit: int = 0
    sent: int = 0
    session_id: str | None = None
    waiting: bool = False


@dataclass(slots=True)
class PaperBroker:
    """State that outlives connections; `port` is where it listens."""

    port: int = 0
    messages: dict[tuple[str, str | None], list[bytes]] = field(
        default_factory=lambda: defaultdict(list)
    )
    refusals: dict[str, Error] = field(default_factory=dict)
    settle_error: Error | None = None
    lock_seconds: float = 60.0
    dispositions: asyncio.Queue[tuple[str, Any]] = field(default_factory=asyncio.Queue)
    claims: list[tuple[str, str]] = field(default_factory=list)
    renewals: asyncio.Queue[tuple[str, Any]] = field(default_factory=asyncio.Queue)
    detached: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    accepted: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    asked: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    """How many links waited for a session whenever one more began to."""
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    connections: list[_Connection] = field(default_factory=list)

    def put(self, entity: str, payload: bytes, *, session_id: str | None = None) -> None:
        """Add a message and hand out what can be handed out."""
        self.messages[entity, session_id].append(payload)
        self.distribute()

    def distribute(self) -> None:
        """Give messages to whoever waits for them."""
        for connection in self.connections:
            connection.distribute()

    def drop(self) -> None:
        """End every connection at once, as a killed process does."""
        for connection in self.connections:
            connection.writer.transport.abort()
        self.connections = []


class _Connection:
    def __init__(self, broker: PaperBroker, writer: asyncio.StreamWriter) -> None:
        self.broker = broker
        self.writer = writer
        self.links: dict[tuple[int, int], _Link] = {}
        self.unsettled: dict[int, tuple[str, Any]] = {}
        self._delivery_ids = itertools.count()

    def send(self, channel: int, performative: Any, payload: bytes = b"") -> None:
        self.writer.write(encode_frame(channel, performative, payload))

    async def serve(self, reader: asyncio.StreamReader) -> None:
        frames = FrameReader(max_frame_size=1 << 20)
        while data := await reader.read(65536):
            for item in frames.feed(data):
                self._on(item)

    def _on(self, item: Frame | ProtocolHeader) -> None:
        match item:
            case ProtocolHeader(protocol=3):
                self.writer.write(SASL_HEADER)
                offer = SaslMechanisms(Array([Symbol("ANONYMOUS")], of=Symbol))
                self.writer.write(encode_frame(0, offer, type=SASL_FRAME))
            case ProtocolHeader():
                self.writer.write(AMQP_HEADER)
            case Frame(performative=SaslInit()):
                self.writer.write(encode_frame(0, SaslOutcome(0), type=SASL_FRAME))
            case Frame(performative=Open()):
                self.send(0, Open("paper", max_frame_size=65536, idle_time_out=240_000))
            case Frame(performative=Close()):
                self.send(0, Close())
                self.broker.closed.set()
            case Frame(channel=channel, performative=Begin()):
                self.send(channel, Begin(channel, 0, 5000, 5000))
            case Frame(channel=channel, performative=performative, payload=payload):
                self._on_link(channel, performative, payload)

    def _on_link(self, channel: int, performative: Any, payload: bytes) -> None:
        match performative:
            case Attach():
                self._on_attach(channel, performative)
            case Flow(handle=int(handle)):
                link = self.links[channel, handle]
                told = (performative.delivery_count or 0) + (performative.link_credit or 0)
                link.credit = told - link.sent
                self.distribute()
            case Transfer(handle=handle):
                self._on_request(self.links[channel, handle], payload)
            case Disposition():
                self._on_disposition(channel, performative)
            case Detach(handle=handle):
                gone = self.links.pop((channel, handle), None)
                self.send(channel, Detach(handle, True))
                if gone is not None:
                    self.broker.detached.put_nowait(gone.address)

    def _on_attach(self, channel: int, attach: Attach) -> None:
        end = attach.source if attach.role else attach.target
        assert isinstance(end, Source | Target)
        link = _Link(channel, attach.handle, str(end.address), attach)
        refusal = self.broker.refusals.get(link.address)
        if refusal is not None:
            nothing = {"source": None} if attach.role else {"target": None}
            self.send(channel, attach._replace(role=not attach.role, **nothing))
            self.send(channel, Detach(attach.handle, True, refusal))
            return
        self.links[channel, attach.handle] = link
        if attach.role and isinstance(end, Source) and SESSION_FILTER in (end.filter or {}):
            link.waiting = True
            self.broker.asked.put_nowait(sum(link.waiting for link in self.links.values()))
            self.distribute()
            return
        self.send(channel, attach._replace(role=not attach.role, initial_delivery_count=0))
        if not attach.role:
            credit = Flow(0, 5000, 0, 5000, attach.handle, 0, 1000)
            self.send(channel, credit)
        self.broker.accepted.put_nowait(link.address)

    def distribute(self) -> None:
        for link in list(self.links.values()):
            if link.waiting:
                self._accept_session(link)
            queue = self.broker.messages[link.address, link.session_id]
            while link.credit > 0 and queue and not link.waiting:
                self._deliver(link, queue.pop(0))

    def _accept_session(self, link: _Link) -> None:
        taken = {other.session_id for other in self.links.values()}
        for (entity, session_id), queue in list(self.broker.messages.items()):
            if entity != link.address or not queue or session_id is None or session_id in taken:
                continue
            link.session_id, link.waiting = session_id, False
            source = Source(link.address, filter={Symbol(SESSION_FILTER): session_id})
            properties = {Symbol("com.microsoft:locked-until-utc"): self._ticks()}
            attach = link.attach._replace(
                role=False, source=source, initial_delivery_count=0, properties=properties
            )
            self.send(link.channel, attach)
            self.broker.accepted.put_nowait(session_id)
            return

    def _ticks(self) -> int:
        return int(self._now() * 10_000_000) + 621_355_968_000_000_000

    def _now(self) -> float:
        return time.time() + self.broker.lock_seconds

    def _deliver(self, link: _Link, payload: bytes) -> None:
        delivery_id = next(self._delivery_ids)
        link.credit -= 1
        link.sent += 1
        self.unsettled[delivery_id] = (link.address, link.session_id)
        annotations = encode_map_section(
            0x72, {Symbol("x-opt-locked-until"): Timestamp(int(self._now() * 1000))}
        )
        tag = uuid.uuid4().bytes_le
        transfer = Transfer(link.handle, delivery_id, tag, 0, False)
        for frame in encode_transfer(
            link.channel, transfer, annotations + payload, max_frame_size=4096
        ):
            self.writer.write(frame)

    def _on_disposition(self, channel: int, disposition: Disposition) -> None:
        found = self.unsettled.pop(disposition.first, None)
        if found is None or disposition.settled:
            return
        state = disposition.state
        error = self.broker.settle_error
        answer = Rejected(error) if error is not None else state
        self.send(channel, Disposition(False, disposition.first, None, True, answer))
        self.broker.dispositions.put_nowait((found[0], state))

    def _on_request(self, link: _Link, payload: bytes) -> None:
        sections = slice_message(payload)
        properties = read_properties(sections.properties)
        told = read_map(sections.application_properties)
        body = read_body(sections.body).values[0]
        if link.address == "$cbs":
            self.broker.claims.append((told["name"], told["type"]))
            self._answer(link, properties.message_id, {"status-code": Int(202)}, None)
            return
        self.broker.renewals.put_nowait((told["operation"], body))
        until = Timestamp(int(self._now() * 1000))
        answer = {"expirations": Array([until], of=Timestamp), "expiration": until}
        self._answer(link, properties.message_id, {"statusCode": Int(200)}, answer)

    def _answer(self, asked: _Link, request_id: Any, told: dict[str, Any], body: Any) -> None:
        for link in self.links.values():
            if link.attach.role and link.address == asked.address and link.credit > 0:
                link.credit -= 1
                link.sent += 1
                answer = (
                    encode_composite_section(Properties(correlation_id=request_id))
                    + encode_map_section(APPLICATION_PROPERTIES, told)
                    + encode_value_section(body)
                )
                transfer = Transfer(link.handle, next(self._delivery_ids), b"a", 0, True)
                self.send(link.channel, transfer, answer)
                return


@asynccontextmanager
async def paper_broker() -> AsyncIterator[PaperBroker]:
    """A broker that listens on a free port."""
    broker = PaperBroker()
    served: set[asyncio.Task[Any] | None] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(broker, writer)
        task = asyncio.current_task()
        served.add(task)
        broker.connections.append(connection)
        try:
            await connection.serve(reader)
        except ConnectionError:
            pass
        finally:
            if connection in broker.connections:
                broker.connections.remove(connection)
            writer.close()
            served.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    broker.port = server.sockets[0].getsockname()[1]
    try:
        yield broker
    finally:
        broker.drop()
        server.close()
        if tasks := {task for task in served if task is not None}:
            await asyncio.wait(tasks, timeout=2)


ACCEPTED, ABANDONED = Accepted(), Modified(True, False)
