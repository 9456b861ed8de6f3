"""How do links share an AMQP session: names, handles, windows and settlements?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from devhost.amqp.performatives import (
    Attach,
    Begin,
    Detach,
    Disposition,
    Flow,
    Rejected,
    Transfer,
)
from devhost.functions.bus.errors import BusError
from devhost.functions.bus.links import Link, Receiver

if TYPE_CHECKING:
    from devhost.functions.bus.connection import AmqpConnection

WINDOW = 2048
"""How many transfer frames may be on their way to us."""
_OUTGOING_WINDOW = 65535
_HANDLES = 4095

Settled = Callable[[BusError | None], None]


class AmqpSession:
    """One session of a connection."""

    def __init__(self, connection: AmqpConnection, channel: int) -> None:
        self.connection = connection
        self._channel = channel
        self._free: list[int] = []
        self._handles = 0
        self._by_name: dict[str, Link] = {}
        self._by_remote: dict[int, Link] = {}
        self._next_incoming_id: int | None = None
        self._window = WINDOW
        self._next_outgoing_id = 0
        self._settling: dict[int, tuple[Link, Settled]] = {}
        self._nothing_settling = asyncio.Event()
        self._nothing_settling.set()
        self.lost: BusError | None = None

    def begin(self) -> None:
        """Send the session's first frame."""
        self.send(Begin(None, 0, WINDOW, _OUTGOING_WINDOW, _HANDLES))

    def send(self, performative: tuple[Any, ...], payload: bytes = b"") -> None:
        """Send a frame on this session's channel."""
        self.connection.send(self._channel, performative, payload)

    def send_encoded(self, frames: list[bytes]) -> None:
        """Send the frames of one delivery."""
        self._next_outgoing_id += len(frames)
        for frame in frames:
            self.connection.send_encoded(frame)

    @property
    def channel(self) -> int:
        """The number that our frames carry."""
        return self._channel

    def next_delivery_id(self) -> int:
        """The id of the next delivery that we send."""
        return self._next_outgoing_id

    def attach(self, link: Link) -> None:
        """Give the link a handle and send its Attach."""
        if self.lost is not None:
            link.on_lost(self.lost)
            return
        if self._free:
            link.handle = self._free.pop()
        else:
            link.handle = self._handles
            self._handles += 1
        self._by_name[link.name] = link
        self.send(link.attach_frame())

    def grant(self, link: Receiver) -> None:
        """Tell the peer the link's credit; it opens the session's window again, too."""
        self._window = WINDOW
        self.send(
            Flow(
                self._next_incoming_id,
                WINDOW,
                self._next_outgoing_id,
                _OUTGOING_WINDOW,
                link.handle,
                link.delivery_count,
                link.credit,
            )
        )

    def settle(self, link: Link, delivery_id: int, state: Any, then: Settled) -> None:
        """Settle a delivery; `then` hears whether the broker did, unless the link ends first."""
        self._settling[delivery_id] = (link, then)
        self._nothing_settling.clear()
        self.send(Disposition(True, delivery_id, None, False, state))

    async def wait_settled(self) -> None:
        """Wait until the broker has answered every settlement."""
        await self._nothing_settling.wait()

    def on_begin(self, begun: Begin) -> None:
        """The peer has begun its half."""
        self._next_incoming_id = begun.next_outgoing_id

    def on_frame(self, performative: object, payload: bytes) -> None:
        """A frame of this session has arrived."""
        match performative:
            case Transfer():
                self._on_transfer(performative, payload)
            case Disposition():
                self._on_disposition(performative)
            case Attach(name=name, handle=handle):
                link = self._by_name.get(name)
                if link is not None:
                    self._by_remote[handle] = link
                    link.on_attach(performative)
            case Flow(handle=handle):
                link = self._by_remote.get(handle) if handle is not None else None
                if link is not None:
                    link.on_flow(performative)
                elif performative.echo:
                    self._open_window()
            case Detach(handle=handle):
                self._on_detach(handle, performative)
            case _:
                raise BusError("amqp:not-allowed", f"unexpected {type(performative).__name__}")

    def on_lost(self, error: BusError) -> None:
        """The connection is gone."""
        self.lost = error
        self._settling.clear()
        self._nothing_settling.set()
        for link in list(self._by_name.values()):
            link.on_lost(error)
        self._by_name.clear()
        self._by_remote.clear()

    def _on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        if self._next_incoming_id is not None:
            self._next_incoming_id = (self._next_incoming_id + 1) & 0xFFFFFFFF
        self._window -= 1
        link = self._by_remote.get(transfer.handle)
        if link is not None:
            link.on_transfer(transfer, payload)
        if self._window < WINDOW // 2:
            self._open_window()

    def _open_window(self) -> None:
        self._window = WINDOW
        flow = Flow(self._next_incoming_id, WINDOW, self._next_outgoing_id, _OUTGOING_WINDOW)
        self.send(flow)

    def _on_disposition(self, disposition: Disposition) -> None:
        if disposition.role:
            return  # of what we sent: requests, whose answer is what counts
        last = disposition.first if disposition.last is None else disposition.last
        state = disposition.state
        error = state.error if isinstance(state, Rejected) else None
        for delivery_id in range(disposition.first, last + 1):
            waiting = self._settling.pop(delivery_id, None)
            if waiting is not None:
                waiting[1](BusError.of(error, "") if error is not None else None)
        if not self._settling:
            self._nothing_settling.set()

    def _on_detach(self, handle: int, detach: Detach) -> None:
        link = self._by_remote.pop(handle, None)
        if link is None:
            return
        if not link.detach_sent:
            self.send(Detach(link.handle, True))
        if self._by_name.pop(link.name, None) is not None:
            self._free.append(link.handle)
        link.on_detach(detach)
        for delivery_id in [key for key, (of, _) in self._settling.items() if of is link]:
            del self._settling[delivery_id]
        if not self._settling:
            self._nothing_settling.set()
