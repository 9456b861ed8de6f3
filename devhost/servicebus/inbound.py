"""How do messages come in over a link?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devhost.amqp import performatives as p
from devhost.amqp.types import Symbol
from devhost.servicebus.broker import MAX_MESSAGE_SIZE
from devhost.servicebus.entities.namespace import Place
from devhost.servicebus.errors import INTERNAL_ERROR, MESSAGE_SIZE_EXCEEDED, NOT_ALLOWED, BusError
from devhost.servicebus.wire import read_sent

if TYPE_CHECKING:
    from devhost.servicebus.session import Session

CREDIT = 1_000


class Assembly:
    """The pieces of one delivery, of which no more is kept than may be."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._first: p.Transfer | None = None

    def add(self, transfer: p.Transfer, payload: bytes) -> tuple[p.Transfer, bytes | None] | None:
        """The delivery when it is whole: its first transfer, and None instead of a payload
        that is too large. An aborted one never becomes whole."""
        if self._first is None:
            self._first = transfer
        self._size += len(payload)
        if self._size <= MAX_MESSAGE_SIZE:
            self._pieces.append(payload)
        if transfer.more and not transfer.aborted:
            return None
        first, size = self._first, self._size
        whole = b"".join(self._pieces) if size <= MAX_MESSAGE_SIZE else None
        self._pieces, self._size, self._first = [], 0, None
        return None if transfer.aborted else (first, whole)


class InboundLink:
    """A client's sender, on a queue or topic."""

    def __init__(self, session: Session, attach: p.Attach, place: Place) -> None:
        if place.subscription is not None or "/$" in place.entity.path:
            raise BusError(NOT_ALLOWED, f"{place.entity.path!r} cannot be sent to.")
        self._session = session
        self._entity = place.entity
        self._handle = attach.handle
        self._assembly = Assembly()
        self._delivery_count = attach.initial_delivery_count or 0
        self._credit = CREDIT
        tracking = f"{session.broker.container_id}_{session.broker.next_number()}"
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
                properties={Symbol("com.microsoft:tracking-id"): tracking},
            )
        )
        self._grant()

    def on_transfer(self, transfer: p.Transfer, payload: bytes) -> None:
        """See Link."""
        whole = self._assembly.add(transfer, payload)
        if not transfer.more or transfer.aborted:
            self._delivery_count = (self._delivery_count + 1) & 0xFFFFFFFF
            self._credit -= 1
            if self._credit <= CREDIT // 2:
                self._grant()
        if whole is not None:
            self._take(*whole)

    def on_flow(self, flow: p.Flow) -> None:
        """A sender's flow needs an answer only if it asks for one."""
        if flow.echo:
            self._grant()

    def on_settled(self, delivery_id: int, delivery: Any, disposition: p.Disposition) -> None:
        """We deliver nothing here."""

    def on_detached(self) -> None:
        """Half of a message is none."""

    def _take(self, transfer: p.Transfer, payload: bytes | None) -> None:
        try:
            if payload is None:
                raise BusError(
                    MESSAGE_SIZE_EXCEEDED,
                    f"The message is larger than the limit of {MAX_MESSAGE_SIZE} bytes.",
                )
            self._entity.send(read_sent(payload, transfer.message_format))
        except BusError as refusal:
            self._answer(transfer, p.Rejected(self._session.broker.error(refusal)))
            return
        self._session.broker.turn.after(lambda kept: self._answer_kept(transfer, kept))

    def _answer_kept(self, transfer: p.Transfer, kept: bool) -> None:
        if kept:
            self._answer(transfer, p.Accepted())
            return
        refusal = BusError(INTERNAL_ERROR, "The message could not be stored.")
        self._answer(transfer, p.Rejected(self._session.broker.error(refusal)))

    def _answer(self, transfer: p.Transfer, state: p.DeliveryState) -> None:
        if not transfer.settled and transfer.delivery_id is not None:
            self._session.send(p.Disposition(True, transfer.delivery_id, None, True, state))

    def _grant(self) -> None:
        self._credit = CREDIT
        self._session.send_flow(self._handle, delivery_count=self._delivery_count, credit=CREDIT)
