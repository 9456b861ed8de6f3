"""Opens links to the broker, takes messages and sends requests. Entry points: `BrokerReceiver`,
`BrokerSender`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from devhost.amqp import performatives as p
from devhost.amqp.link import Link
from devhost.amqp.receiver import Receiver
from devhost.amqp.sender import QueuedSender
from devhost.amqp.session import Session
from devhost.functions.bus.errors import BusError, ConnectionLost

UNSETTLED, FIRST, SECOND = 0, 0, 1

OnSettled: TypeAlias = Callable[[BusError | None], None]
"""Called with the broker's answer to a settlement: None, or why it was refused."""


class BrokerLink(Link):
    """What receivers and senders share: waiting for the broker."""

    session: Session

    @cached_property
    def attached(self) -> asyncio.Future[p.Attach]:
        """The broker's Attach, or the BusError that came instead."""
        return asyncio.get_running_loop().create_future()

    @cached_property
    def ended(self) -> asyncio.Future[BusError]:
        """Why the link has ended, once it has."""
        return asyncio.get_running_loop().create_future()

    async def wait_attached(self) -> p.Attach:
        """Wait for the broker's Attach. Raises BusError if the broker refuses the link."""
        return await asyncio.shield(self.attached)

    def detach(self) -> None:
        """Ask the broker to end the link."""
        if not self.ended.done():
            self.session.detach(self)

    def on_attach(self, attach: p.Attach) -> None:
        """Take the broker's answer. A refusal lacks the terminus; its reason comes in a Detach."""
        terminus = attach.target if attach.role else attach.source
        if terminus is not None and not self.attached.done():
            self.attached.set_result(attach)

    def on_ended(self, error: p.Error | None) -> None:
        """See Link."""
        super().on_ended(error)
        if self.ended.done():
            return
        if self.session.error is not None:
            reason: BusError = ConnectionLost.because(self.session.error)
        else:
            reason = BusError.of(error, "the broker detached the link")
        self.ended.set_result(reason)
        if not self.attached.done():
            self.attached.set_exception(reason)
            self.attached.exception()  # marks it as seen, also if nobody waits for it


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that has come on a link and is not settled yet."""

    link: BrokerReceiver
    delivery_id: int
    tag: bytes
    payload: bytes
    settled: bool


class BrokerReceiver(BrokerLink, Receiver):
    """Takes messages in peek-lock mode and passes each to `take`."""

    def __init__(
        self,
        session: Session,
        source: p.Source,
        take: Callable[[Delivery], None],
        *,
        target: str | None = None,
        properties: dict[Any, Any] | None = None,
        settle_mode: int = SECOND,
        refill: int = 0,
    ) -> None:
        super().__init__(session, _make_name(source.address), refill=refill)
        self._take = take
        self._attach = p.Attach(
            self.name,
            self.handle,
            True,
            UNSETTLED,
            settle_mode,
            source,
            p.Target(target or self.name),
            properties=properties,
        )

    def open(self) -> None:
        """Send the Attach."""
        self.session.attach(self, self._attach)

    def grant(self, credit: int) -> None:
        """Let the broker send `credit` messages from now on; 0 stops it."""
        if not self.ended.done() and not self.is_detaching:
            super().grant(credit)

    def settle(self, delivery: Delivery, state: p.DeliveryState, then: OnSettled) -> bool:
        """Settle a delivery; False if the link has ended, and the message comes again.

        `then` is not called if the link ends before the broker answers.
        """
        if self.ended.done() or self.is_detaching:
            return False
        self.session.ask_to_settle(self, delivery.delivery_id, state, then)
        return True

    def accept(self, delivery: Delivery) -> None:
        """Take a delivery for good, without waiting for the broker's answer."""
        if not delivery.settled and not self.ended.done():
            self.session.settle(delivery.delivery_id, p.Accepted())

    def on_attach(self, attach: p.Attach) -> None:
        """See BrokerLink."""
        self.delivery_count = attach.initial_delivery_count or 0
        super().on_attach(attach)
        if self.refill and attach.source is not None:
            self.grant(self.refill)

    def on_delivery(self, transfer: p.Transfer, payload: bytes | None) -> None:
        """Pass the delivery on; one that is too large is abandoned."""
        delivery_id = transfer.delivery_id or 0
        if payload is None:
            self.session.settle(delivery_id, p.Modified(delivery_failed=True))
            return
        tag = transfer.delivery_tag or b""
        self._take(Delivery(self, delivery_id, tag, payload, bool(transfer.settled)))

    def on_settled(self, delivery_id: int, delivery: OnSettled, disposition: p.Disposition) -> None:
        """See Link."""
        state = disposition.state
        error = state.error if isinstance(state, p.Rejected) else None
        delivery(BusError.of(error, "") if error is not None else None)


class BrokerSender(BrokerLink, QueuedSender):
    """Sends requests to a node."""

    def __init__(self, session: Session, address: str, *, source: str) -> None:
        super().__init__(session, _make_name(address), settled=False)
        self._attach = p.Attach(
            self.name,
            self.handle,
            False,
            UNSETTLED,
            FIRST,
            p.Source(source),
            p.Target(address),
            initial_delivery_count=0,
        )

    def open(self) -> None:
        """Send the Attach."""
        self.session.attach(self, self._attach)


def _make_name(address: str) -> str:
    return f"{address}-{uuid.uuid4().hex[:12]}"
