"""Takes messages from a client's sender into a queue or topic. Entry point: `InboundLink`."""

from __future__ import annotations

from devhost.amqp import performatives as p
from devhost.amqp.receiver import Receiver
from devhost.amqp.session import Session
from devhost.amqp.types import Symbol
from devhost.servicebus.broker import MAX_MESSAGE_SIZE, Broker
from devhost.servicebus.entities.namespace import Place
from devhost.servicebus.errors import INTERNAL_ERROR, MESSAGE_SIZE_EXCEEDED, NOT_ALLOWED, BusError
from devhost.servicebus.wire import read_sent

CREDIT = 1_000


class InboundLink(Receiver):
    """A client's sender, on a queue or topic."""

    def __init__(self, session: Session, attach: p.Attach, place: Place, broker: Broker) -> None:
        if place.subscription is not None or "/$" in place.entity.path:
            raise BusError(NOT_ALLOWED, f"{place.entity.path!r} accepts no messages from clients.")
        super().__init__(
            session, attach.name, attach.handle, refill=CREDIT, max_message_size=MAX_MESSAGE_SIZE
        )
        self._entity = place.entity
        self._broker = broker
        self.delivery_count = attach.initial_delivery_count or 0
        session.accept(
            attach,
            max_message_size=MAX_MESSAGE_SIZE,
            properties={Symbol("com.microsoft:tracking-id"): broker.next_tracking_id()},
        )
        self.grant(CREDIT)

    def on_delivery(self, transfer: p.Transfer, payload: bytes | None) -> None:
        """Send the message to the entity; answer when it is on disk."""
        try:
            if payload is None:
                raise BusError(
                    MESSAGE_SIZE_EXCEEDED,
                    f"The message is larger than the limit of {MAX_MESSAGE_SIZE} bytes.",
                )
            self._entity.send(read_sent(payload, transfer.message_format))
        except BusError as refusal:
            self._answer(transfer, p.Rejected(self._broker.error(refusal)))
            return
        self._broker.commit.after(lambda stored: self._answer_stored(transfer, stored))

    def _answer_stored(self, transfer: p.Transfer, stored: bool) -> None:
        if stored:
            self._answer(transfer, p.Accepted())
            return
        refusal = BusError(INTERNAL_ERROR, "The message could not be stored.")
        self._answer(transfer, p.Rejected(self._broker.error(refusal)))

    def _answer(self, transfer: p.Transfer, state: p.DeliveryState) -> None:
        if not transfer.settled and transfer.delivery_id is not None:
            self.session.settle(transfer.delivery_id, state)
