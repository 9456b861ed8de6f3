"""Receives deliveries over a link and grants its credit. Entry point: `Receiver`."""

from __future__ import annotations

from devhost.amqp import performatives as p
from devhost.amqp.link import Link
from devhost.amqp.session import SERIAL_MASK, Session

MAX_MESSAGE_SIZE = 104_857_600
"""Bytes of the largest message that any tier of Service Bus delivers."""


class Receiver(Link):
    """The receiving end of a link. A subclass overrides `on_delivery`.

    With `refill`, half-used credit is refilled to that many deliveries; without, the subclass
    grants it. No more than `max_message_size` bytes of one delivery are held.
    """

    def __init__(
        self,
        session: Session,
        name: str,
        handle: int = -1,
        *,
        refill: int = 0,
        max_message_size: int = MAX_MESSAGE_SIZE,
    ) -> None:
        super().__init__(name, handle)
        self.session = session
        self.credit = 0
        self.delivery_count = 0
        self.refill = refill
        self._max_message_size = max_message_size
        self._first: p.Transfer | None = None
        self._parts: list[bytes] = []
        self._size = 0

    def on_delivery(self, transfer: p.Transfer, payload: bytes | None) -> None:
        """Take a whole delivery: its first transfer, and None instead of a payload that is too
        large."""
        raise NotImplementedError

    def grant(self, credit: int) -> None:
        """Let the peer send `credit` deliveries from now on."""
        self.credit = credit
        self.session.send_flow(self.handle, delivery_count=self.delivery_count, credit=credit)

    def on_flow(self, flow: p.Flow) -> None:
        """Answer a sender that asks for the link's state."""
        if flow.echo:
            self.grant(self.refill or self.credit)

    def on_transfer(self, transfer: p.Transfer, payload: bytes) -> None:
        """Collect the parts of a delivery; an aborted one is dropped."""
        first = self._first
        if first is None:
            first = transfer
            self.delivery_count = (self.delivery_count + 1) & SERIAL_MASK
            if self.credit:
                self.credit -= 1
        if transfer.more and not transfer.aborted:
            self._first = first
            self._collect(payload)
            return
        whole: bytes | None = payload
        if self._first is not None:
            whole = self._join(payload)
        elif len(payload) > self._max_message_size:
            whole = None
        if self.credit <= self.refill // 2 and self.refill:
            self.grant(self.refill)
        if not transfer.aborted:
            self.on_delivery(first, whole)

    def _collect(self, payload: bytes) -> None:
        self._size += len(payload)
        if self._size <= self._max_message_size:
            self._parts.append(payload)

    def _join(self, payload: bytes) -> bytes | None:
        self._collect(payload)
        whole = b"".join(self._parts) if self._size <= self._max_message_size else None
        self._first, self._parts, self._size = None, [], 0
        return whole
