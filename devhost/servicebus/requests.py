"""Passes a client's requests to a node and its answers back. Entry points: `RequestLink`,
`ReplyLink`.

`$cbs` and `$management` are nodes with a link for requests and one for replies. An answer goes to
the reply link of the same node whose address the request names, of the same session if possible.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from devhost.amqp import message as sections
from devhost.amqp import performatives as p
from devhost.amqp.errors import DecodeError
from devhost.amqp.receiver import Receiver
from devhost.amqp.sender import QueuedSender
from devhost.amqp.session import Session
from devhost.servicebus.broker import MAX_MESSAGE_SIZE, Broker
from devhost.servicebus.inbound import CREDIT
from devhost.servicebus.wire import read_request


class Request(NamedTuple):
    """A request: its application properties and its body."""

    properties: dict[Any, Any]
    body: Any


class Answer(NamedTuple):
    """An answer: its application properties and its body."""

    properties: dict[Any, Any]
    body: Any = None


class Node(Protocol):
    """What answers requests."""

    def answer(self, request: Request) -> Answer:
        """Answer a request, also by a refusal. It is sent when its changes are on disk."""
        ...

    def not_stored(self) -> Answer:
        """The answer if the changes could not be stored."""
        ...


class RequestLink(Receiver):
    """A client's sender to a node."""

    def __init__(
        self, session: Session, attach: p.Attach, broker: Broker, node: Node, name: str
    ) -> None:
        super().__init__(
            session, attach.name, attach.handle, refill=CREDIT, max_message_size=MAX_MESSAGE_SIZE
        )
        self._broker = broker
        self._node = node
        self._node_name = name
        self.delivery_count = attach.initial_delivery_count or 0
        session.accept(attach, max_message_size=MAX_MESSAGE_SIZE)
        self.grant(CREDIT)

    def on_delivery(self, transfer: p.Transfer, payload: bytes | None) -> None:
        """Answer the request, then accept it: until the answer has come, the Python SDK takes
        50 ms for each frame."""
        if payload is not None:
            self._answer(payload)
        number = transfer.delivery_id
        if not transfer.settled and number is not None:
            self._broker.commit.after(lambda stored: self.session.settle(number, p.Accepted()))

    def _answer(self, payload: bytes) -> None:
        try:
            properties, application, body = read_request(payload)
        except DecodeError:
            return  # the address for the answer cannot be read either
        answer = self._node.answer(Request(application, body))

        def send(stored: bool) -> None:
            link = _find_reply_link(self.session, self._node_name, properties.reply_to)
            if link is not None:
                link.answer(properties.message_id, answer if stored else self._node.not_stored())

        self._broker.commit.after(send)


class ReplyLink(QueuedSender):
    """A client's receiver of a node's answers."""

    def __init__(self, session: Session, attach: p.Attach, name: str) -> None:
        super().__init__(session, attach.name, attach.handle, settled=True)
        self.node_name = name
        self.addresses = {
            terminus.address
            for terminus in (attach.source, attach.target)
            if isinstance(terminus, p.Source | p.Target)
        }
        session.accept(attach)

    def answer(self, correlation_id: Any, answer: Answer) -> None:
        """Send an answer when there is credit."""
        self.send(
            sections.encode_composite_section(sections.Properties(correlation_id=correlation_id))
            + sections.encode_map_section(sections.APPLICATION_PROPERTIES, answer.properties)
            + sections.encode_value_section(answer.body)
        )


def _find_reply_link(session: Session, name: str, reply_to: Any) -> ReplyLink | None:
    others = [each for each in session.outlet.sessions if each is not session]
    links = [
        link
        for each in (session, *others)
        for link in each.links
        if isinstance(link, ReplyLink) and link.node_name == name
    ]
    named = [link for link in links if reply_to in link.addresses]
    return next(iter(named or links), None)
