"""Sends messages over a link as far as the peer's credit allows. Entry point: `QueuedSender`."""

from __future__ import annotations

from collections import deque

from devhost.amqp import performatives as p
from devhost.amqp.link import Link
from devhost.amqp.session import SERIAL_MASK, Session

MAX_WAITING = 1_000
"""Messages of one link that wait for credit; the oldest are dropped."""


class Sender(Link):
    """The sending end of a link, for a subclass that decides when to send."""

    def __init__(self, session: Session, name: str, handle: int = -1) -> None:
        super().__init__(name, handle)
        self.session = session
        self.delivery_count = 0

    def read_credit(self, flow: p.Flow) -> int:
        """How many deliveries the peer's Flow still allows."""
        allowed = (flow.delivery_count or 0) + (flow.link_credit or 0)
        credit = (allowed - self.delivery_count) & SERIAL_MASK
        return credit if credit <= SERIAL_MASK // 2 else 0

    def count(self, deliveries: int = 1) -> None:
        """Count deliveries that were sent, or whose credit a drain has used up."""
        self.delivery_count = (self.delivery_count + deliveries) & SERIAL_MASK

    def send_credit(self, credit: int, *, drain: bool | None = None) -> None:
        """Tell the peer how much of its credit is left."""
        self.session.send_flow(
            self.handle, delivery_count=self.delivery_count, credit=credit, drain=drain
        )


class QueuedSender(Sender):
    """Sends each message in order, once there is credit. `settled`: as settled already."""

    def __init__(self, session: Session, name: str, handle: int = -1, *, settled: bool) -> None:
        super().__init__(session, name, handle)
        self._settled = settled
        self._credit = 0
        self._waiting: deque[bytes] = deque(maxlen=MAX_WAITING)

    def send(self, message: bytes) -> None:
        """Send a message, now or when there is credit."""
        self._waiting.append(message)
        self._send_waiting()

    def on_flow(self, flow: p.Flow) -> None:
        """Send what waits; use up the rest of the credit if the peer drains the link."""
        if flow.link_credit is None:
            return
        self._credit = self.read_credit(flow)
        self._send_waiting()
        if flow.drain:
            self.count(self._credit)
            self._credit = 0
        if flow.drain or flow.echo:
            self.send_credit(self._credit, drain=flow.drain)

    def on_ended(self, error: p.Error | None) -> None:
        """Drop what waits."""
        self._waiting.clear()

    def _send_waiting(self) -> None:
        while self._credit and self._waiting:
            self._credit -= 1
            tag, message = self.delivery_count.to_bytes(4), self._waiting.popleft()
            self.count()
            if self._settled:
                self.session.deliver(self.handle, tag, message)
            else:
                self.session.deliver_unsettled(self, tag, message, None)
