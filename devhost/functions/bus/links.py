"""How does a link attach, take messages or send them, and end?"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devhost.amqp.frames import transfer_frames
from devhost.amqp.performatives import (
    Accepted,
    Attach,
    Detach,
    Disposition,
    Flow,
    Source,
    Target,
    Transfer,
)
from devhost.functions.bus.errors import BusError

if TYPE_CHECKING:
    from devhost.functions.bus.session import AmqpSession

UNSETTLED, FIRST, SECOND = 0, 0, 1


class Link:
    """What receivers and senders share. `ended` is set when the link is no more."""

    def __init__(self, session: AmqpSession, address: str) -> None:
        self._session = session
        self._address = address
        self._attached: asyncio.Future[Attach] = asyncio.get_running_loop().create_future()
        self.name = f"{address}-{uuid.uuid4().hex[:12]}"
        self.handle = -1
        self.detach_sent = False
        self.ended = asyncio.Event()
        self.error: BusError | None = None
        self._listeners: list[Callable[[BusError], None]] = []

    def when_ended(self, listener: Callable[[BusError], None]) -> None:
        """Call the listener when the link has ended, with the reason."""
        if self.error is not None:
            listener(self.error)
        else:
            self._listeners.append(listener)

    def attach_frame(self) -> Attach:
        """The first frame of the link."""
        raise NotImplementedError

    async def wait_attached(self) -> Attach:
        """The peer's half, once it stands. Raises BusError if it is refused."""
        return await asyncio.shield(self._attached)

    def detach(self) -> None:
        """End the link; what it was waiting for is dropped."""
        if not self.detach_sent and not self.ended.is_set():
            self.detach_sent = True
            self._session.send(Detach(self.handle, True))

    async def close(self, *, timeout_seconds: float) -> None:
        """End the link and wait for the peer's word, but not for ever."""
        self.detach()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self.ended.wait()

    def on_attach(self, attach: Attach) -> None:
        """The peer answers; without a terminus it refuses and says why in its Detach."""
        if not self._is_refusal(attach) and not self._attached.done():
            self._on_attached(attach)
            self._attached.set_result(attach)

    def on_flow(self, flow: Flow) -> None:
        """The peer tells its state."""

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        """A piece of a message has come."""

    def on_detach(self, detach: Detach) -> None:
        """The link is over."""
        self._end(BusError.of(detach.error, "the broker detached the link"))

    def on_lost(self, error: BusError) -> None:
        """The connection is gone, and the link with it."""
        self._end(error)

    def _is_refusal(self, attach: Attach) -> bool:
        raise NotImplementedError

    def _on_attached(self, attach: Attach) -> None:
        pass

    def _end(self, error: BusError) -> None:
        if self.ended.is_set():
            return
        self.error = error
        self.ended.set()
        if not self._attached.done():
            self._attached.set_exception(error)
            self._attached.exception()  # heard, even if nobody is waiting for it
        for listener in self._listeners:
            listener(error)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that has come on a link and is not settled yet."""

    link: Receiver
    delivery_id: int
    tag: bytes
    payload: bytes
    settled: bool


class Receiver(Link):
    """Takes messages, as many as `grant` allowed, and hands each to `on_delivery`."""

    def __init__(
        self,
        session: AmqpSession,
        source: Source,
        on_delivery: Callable[[Delivery], None],
        *,
        target: str = "",
        properties: dict[Any, Any] | None = None,
        settle_mode: int = SECOND,
    ) -> None:
        super().__init__(session, str(source.address))
        self._source = source
        self._target = target or self.name
        self._on_delivery = on_delivery
        self._properties = properties
        self._settle_mode = settle_mode
        self._pieces: list[bytes] = []
        self._first: Transfer | None = None
        self.delivery_count: int | None = None
        self.credit = 0

    def attach_frame(self) -> Attach:
        """A receiver in peek-lock mode."""
        return Attach(
            self.name,
            self.handle,
            True,
            UNSETTLED,
            self._settle_mode,
            self._source,
            Target(self._target),
            properties=self._properties,
        )

    def grant(self, messages: int) -> None:
        """Allow so many messages more."""
        if not self.ended.is_set():
            self.credit += messages
            self._session.grant(self)

    def revoke(self) -> None:
        """Take back all credit. What is on its way still comes."""
        if not self.ended.is_set():
            self.credit = 0
            self._session.grant(self)

    def settle(
        self, delivery: Delivery, state: Any, then: Callable[[BusError | None], None]
    ) -> bool:
        """Settle a delivery; False if the link is gone, and the message comes again."""
        if self.ended.is_set() or self.detach_sent:
            return False
        self._session.settle(self, delivery.delivery_id, state, then)
        return True

    def accept(self, delivery: Delivery) -> None:
        """Take a delivery for good, without waiting for the broker's word."""
        if not delivery.settled and not self.ended.is_set():
            accepted = Disposition(True, delivery.delivery_id, None, True, Accepted())
            self._session.send(accepted)

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        """Collect the pieces of a message; the last one completes it."""
        if self._first is None:
            self._first = transfer
            self.delivery_count = ((self.delivery_count or 0) + 1) & 0xFFFFFFFF
            self.credit = max(0, self.credit - 1)
        if transfer.aborted:
            self._first, self._pieces = None, []
            return
        self._pieces.append(payload)
        if transfer.more:
            return
        first, pieces = self._first, self._pieces
        self._first, self._pieces = None, []
        self._on_delivery(
            Delivery(
                self,
                first.delivery_id or 0,
                first.delivery_tag or b"",
                b"".join(pieces),
                bool(first.settled),
            )
        )

    def _is_refusal(self, attach: Attach) -> bool:
        return attach.source is None

    def _on_attached(self, attach: Attach) -> None:
        self.delivery_count = attach.initial_delivery_count or 0


class Sender(Link):
    """Sends requests; waits for credit."""

    def __init__(self, session: AmqpSession, address: str, *, source: str) -> None:
        super().__init__(session, address)
        self._source = source
        self._limit = 0
        self._sent = 0
        self._credit = asyncio.Event()

    def attach_frame(self) -> Attach:
        """A sender of unsettled messages."""
        return Attach(
            self.name,
            self.handle,
            False,
            UNSETTLED,
            FIRST,
            Source(self._source),
            Target(self._address),
            initial_delivery_count=0,
        )

    async def send(self, message: bytes) -> None:
        """Send a message once there is credit. Raises BusError if the link ends before."""
        await self._credit.wait()
        if self.error is not None:
            raise self.error
        delivery_id = self._session.next_delivery_id()
        transfer = Transfer(
            self.handle, delivery_id, delivery_id.to_bytes(4), message_format=0, settled=False
        )
        self._session.send_encoded(
            transfer_frames(
                self._session.channel,
                transfer,
                message,
                max_frame_size=self._session.connection.max_frame_size,
            )
        )
        self._sent += 1
        if self._sent >= self._limit:
            self._credit.clear()

    def on_flow(self, flow: Flow) -> None:
        """The peer grants credit."""
        self._limit = (flow.delivery_count or 0) + (flow.link_credit or 0)
        if self._sent < self._limit:
            self._credit.set()

    def _is_refusal(self, attach: Attach) -> bool:
        return attach.target is None

    def _end(self, error: BusError) -> None:
        super()._end(error)
        self._credit.set()
