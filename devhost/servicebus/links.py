"""Opens the link that an Attach asks for, if the client has the right. Entry point: `open_link`."""

from __future__ import annotations

from devhost.amqp import performatives as p
from devhost.amqp.session import Session
from devhost.servicebus.address import CLAIMS, MANAGEMENT, Address, parse_address
from devhost.servicebus.broker import Broker
from devhost.servicebus.claims import Claims
from devhost.servicebus.entities.namespace import Place
from devhost.servicebus.entities.topic import Topic
from devhost.servicebus.errors import NOT_ALLOWED, NOT_FOUND, NOT_IMPLEMENTED, BusError
from devhost.servicebus.grants import GrantedLink, Grants
from devhost.servicebus.inbound import InboundLink
from devhost.servicebus.management import Management
from devhost.servicebus.outbound import OutboundLink
from devhost.servicebus.policies import Right
from devhost.servicebus.requests import Node, ReplyLink, RequestLink


def open_link(session: Session, attach: p.Attach, broker: Broker, grants: Grants) -> GrantedLink:
    """Open a link; it answers the Attach itself. Raises BusError if the Attach is refused."""
    terminus = attach.source if attach.role else attach.target
    if not isinstance(terminus, p.Source | p.Target):
        raise BusError(NOT_IMPLEMENTED, "Transactions are not supported.")
    address = parse_address(terminus.address)
    if address.node == CLAIMS:
        return _open_node_link(session, attach, broker, Claims(broker, grants), CLAIMS)
    place = broker.namespace.find(address.path)
    if place is None:
        raise BusError(NOT_FOUND, f"The messaging entity {terminus.address!r} could not be found.")
    rights = _needed_rights(attach, address)
    grants.check(address.path, *rights)
    if address.node == MANAGEMENT:
        management = Management(broker, grants, place, address.path)
        link = _open_node_link(session, attach, broker, management, address.path)
    else:
        link = _open_entity_link(session, attach, broker, place)
    grants.watch(link, address.path, *rights)
    return link


def _needed_rights(attach: p.Attach, address: Address) -> tuple[Right, ...]:
    """The rights of which the client needs one."""
    if address.node == MANAGEMENT:
        return tuple(Right)
    return (Right.LISTEN if attach.role else Right.SEND,)


def _open_entity_link(
    session: Session, attach: p.Attach, broker: Broker, place: Place
) -> GrantedLink:
    if not attach.role:
        return InboundLink(session, attach, place, broker)
    if isinstance(place.entity, Topic):
        raise BusError(NOT_ALLOWED, "Messages are received from a subscription, not from a topic.")
    return OutboundLink(session, attach, place.entity, broker)


def _open_node_link(
    session: Session, attach: p.Attach, broker: Broker, node: Node, name: str
) -> GrantedLink:
    if attach.role:
        return ReplyLink(session, attach, name)
    return RequestLink(session, attach, broker, node, name)
