"""Receives deliveries over a link and grants its credit. Entry point: `Receiver`."""

from __future__ import annotations

from devhost.amqp import performatives as p
from devhost.amqp.link import Link
from devhost.amqp.session import SERIAL_MASK, Session


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
        max_message_size: int | None = None,
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
        if self._first is None:
            self._first = transfer
            self.delivery_count = (self.delivery_count + 1) & SERIAL_MASK
            if self.credit:
                self.credit -= 1
        self._size += len(payload)
        if self._max_message_size is None or self._size <= self._max_message_size:
            self._parts.append(payload)
        if transfer.more and not transfer.aborted:
            return
        first, whole = self._first, self._take_payload()
        self._first = None
        if self.credit <= self.refill // 2 and self.refill:
            self.grant(self.refill)
        if not transfer.aborted:
            self.on_delivery(first, whole)

    def _take_payload(self) -> bytes | None:
        parts, self._parts = self._parts, []
        size, self._size = self._size, 0
        if self._max_message_size is not None and size > self._max_message_size:
            return None
        return parts[0] if len(parts) == 1 else b"".join(parts)
