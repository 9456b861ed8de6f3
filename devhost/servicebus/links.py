"""Opens the kind of link that an Attach asks for, to whom may have it. Entry point: `open_link`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devhost.amqp import performatives as p
from devhost.servicebus.address import CLAIMS, MANAGEMENT, parse_address
from devhost.servicebus.claims import Claims
from devhost.servicebus.entities.topic import Topic
from devhost.servicebus.errors import NOT_ALLOWED, NOT_FOUND, NOT_IMPLEMENTED, BusError
from devhost.servicebus.inbound import InboundLink
from devhost.servicebus.link import Link
from devhost.servicebus.management import Management
from devhost.servicebus.outbound import OutboundLink
from devhost.servicebus.policies import Right
from devhost.servicebus.requests import Node, ReplyLink, RequestLink

if TYPE_CHECKING:
    from devhost.servicebus.session import Session


def open_link(session: Session, attach: p.Attach) -> Link:
    """The link, its Attach answered or to be answered. Raises BusError: refuse it."""
    terminus = attach.source if attach.role else attach.target
    if not isinstance(terminus, p.Source | p.Target):
        raise BusError(NOT_IMPLEMENTED, "Transactions are not supported.")
    address = parse_address(terminus.address)
    if address.node == CLAIMS:
        return _node_link(session, attach, Claims(session.connection), CLAIMS)
    place = session.broker.namespace.find(address.path)
    if place is None:
        raise BusError(NOT_FOUND, f"The messaging entity {terminus.address!r} could not be found.")
    if address.node == MANAGEMENT:
        session.require(attach.handle, address.path, *Right)
        management = Management(session.connection, place, address.path)
        return _node_link(session, attach, management, address.path)
    session.require(attach.handle, address.path, Right.LISTEN if attach.role else Right.SEND)
    if not attach.role:
        return InboundLink(session, attach, place)
    if isinstance(place.entity, Topic):
        raise BusError(NOT_ALLOWED, "Messages are received from a subscription, not from a topic.")
    return OutboundLink(session, attach, place.entity)


def _node_link(session: Session, attach: p.Attach, node: Node, name: str) -> Link:
    if attach.role:
        return ReplyLink(session, attach, name)
    return RequestLink(session, attach, node, name)
