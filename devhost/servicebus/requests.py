"""How does a client ask a question over two links and get its answer?

`$cbs` and `$management` are nodes with a link for requests and one for replies. An answer goes to
the reply link of the same node whose address the request names, of the same session if possible.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from devhost.amqp import message as sections
from devhost.amqp import performatives as p
from devhost.amqp.errors import DecodeError
from devhost.servicebus.broker import MAX_MESSAGE_SIZE
from devhost.servicebus.inbound import CREDIT, Assembly
from devhost.servicebus.wire import read_request

if TYPE_CHECKING:
    from devhost.servicebus.session import Session

MAX_WAITING = 1_000
"""Answers that wait for a client's credit."""
_ROUND = 0xFFFFFFFF


class Request(NamedTuple):
    """A question: its application properties and its body."""

    properties: dict[Any, Any]
    body: Any


class Answer(NamedTuple):
    """What is said: application properties and a body."""

    properties: dict[Any, Any]
    body: Any = None


class Node(Protocol):
    """Who answers."""

    def answer(self, request: Request) -> Answer:
        """The answer, to be sent once what it says is kept. Refusals are answers too."""
        ...

    def not_kept(self) -> Answer:
        """What to say instead if it could not be kept."""
        ...


class RequestLink:
    """A client's sender to a node."""

    def __init__(self, session: Session, attach: p.Attach, node: Node, name: str) -> None:
        self._session = session
        self._node = node
        self._name = name
        self._handle = attach.handle
        self._assembly = Assembly()
        self._delivery_count = attach.initial_delivery_count or 0
        self._credit = CREDIT
        session.send(
            p.Attach(
                attach.name,
                attach.handle,
                True,
                attach.snd_settle_mode,
                attach.rcv_settle_mode,
                attach.source or p.Source(),
                attach.target,
                max_message_size=MAX_MESSAGE_SIZE,
            )
        )
        self._grant()

    def on_transfer(self, transfer: p.Transfer, payload: bytes) -> None:
        """See Link."""
        whole = self._assembly.add(transfer, payload)
        if whole is None:
            return
        self._delivery_count = (self._delivery_count + 1) & _ROUND
        self._credit -= 1
        if self._credit <= CREDIT // 2:
            self._grant()
        first, request = whole
        if request is not None:
            self._answer(request)
        if not first.settled and first.delivery_id is not None:
            number = first.delivery_id
            # Behind the answer: Python's SDK takes 50 ms a frame while it waits for that.
            self._session.broker.turn.after(lambda kept: self._accept(number))

    def on_flow(self, flow: p.Flow) -> None:
        """See Link."""
        if flow.echo:
            self._grant()

    def on_settled(self, delivery_id: int, delivery: Any, disposition: p.Disposition) -> None:
        """We deliver nothing here."""

    def on_detached(self) -> None:
        """Nothing is kept."""

    def _answer(self, payload: bytes) -> None:
        try:
            properties, application, body = read_request(payload)
        except DecodeError:
            return  # there is nobody to answer to: the reply address cannot be read either
        answer = self._node.answer(Request(application, body))

        def send(kept: bool) -> None:
            link = _find_reply_link(self._session, self._name, properties.reply_to)
            if link is not None:
                link.send(properties.message_id, answer if kept else self._node.not_kept())

        self._session.broker.turn.after(send)

    def _accept(self, delivery_id: int) -> None:
        self._session.send(p.Disposition(True, delivery_id, None, True, p.Accepted()))

    def _grant(self) -> None:
        self._credit = CREDIT
        self._session.send_flow(self._handle, delivery_count=self._delivery_count, credit=CREDIT)


class ReplyLink:
    """A client's receiver of a node's answers."""

    def __init__(self, session: Session, attach: p.Attach, name: str) -> None:
        self.name = name
        source, target = attach.source, attach.target
        self.addresses = {
            terminus.address
            for terminus in (source, target)
            if isinstance(terminus, p.Source | p.Target)
        }
        self._session = session
        self._handle = attach.handle
        self._credit = 0
        self._delivery_count = 0
        self._waiting: deque[bytes] = deque(maxlen=MAX_WAITING)
        session.send(
            p.Attach(
                attach.name,
                attach.handle,
                False,
                attach.snd_settle_mode,
                attach.rcv_settle_mode,
                attach.source,
                attach.target or p.Target(),
                initial_delivery_count=0,
            )
        )

    def send(self, correlation_id: Any, answer: Answer) -> None:
        """Send an answer, or keep it until there is credit."""
        self._waiting.append(
            sections.composite_section(sections.Properties(correlation_id=correlation_id))
            + sections.map_section(sections.APPLICATION_PROPERTIES, answer.properties)
            + sections.value_section(answer.body)
        )
        self._send_waiting()

    def on_flow(self, flow: p.Flow) -> None:
        """See Link."""
        if flow.link_credit is None:
            return
        credit = ((flow.delivery_count or 0) + flow.link_credit - self._delivery_count) & _ROUND
        self._credit = credit if credit <= _ROUND // 2 else 0
        self._send_waiting()
        if flow.drain:
            self._delivery_count = (self._delivery_count + self._credit) & _ROUND
            self._credit = 0
        if flow.drain or flow.echo:
            self._session.send_flow(
                self._handle,
                delivery_count=self._delivery_count,
                credit=self._credit,
                drain=flow.drain,
            )

    def on_transfer(self, transfer: p.Transfer, payload: bytes) -> None:
        """A receiver sends nothing."""

    def on_settled(self, delivery_id: int, delivery: Any, disposition: p.Disposition) -> None:
        """Answers are settled when they are sent."""

    def on_detached(self) -> None:
        """What waits has no reader any more."""
        self._waiting.clear()

    def _send_waiting(self) -> None:
        while self._credit and self._waiting:
            self._credit -= 1
            tag = self._delivery_count.to_bytes(4)
            self._delivery_count = (self._delivery_count + 1) & _ROUND
            self._session.deliver(self._handle, tag, self._waiting.popleft())


def _find_reply_link(session: Session, name: str, reply_to: Any) -> ReplyLink | None:
    others = [each for each in session.connection.sessions if each is not session]
    links = [
        link
        for each in (session, *others)
        for link in each.links.values()
        if isinstance(link, ReplyLink) and link.name == name
    ]
    named = [link for link in links if reply_to in link.addresses]
    return next(iter(named or links), None)
