"""Keeps the windows, handles and deliveries of one AMQP session. Entry point: `Session`.

AMQP 1.0, part 2, sections 2.5 to 2.7. Only one of the two peers opens links in a session: its
handles then serve both directions. A frame for an unknown handle is ignored, because the peer may
not know yet that the link has ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from devhost.amqp import performatives as p
from devhost.amqp.errors import NOT_ALLOWED
from devhost.amqp.frames import encode_frame, encode_transfer
from devhost.amqp.link import Link, LinkRefused

WINDOW = 5_000
"""How many transfer frames either peer may send ahead."""
HANDLE_MAX = 4_095
SERIAL_MASK = 0xFFFFFFFF
"""Serial numbers have 32 bits."""


class Outlet(Protocol):
    """Where a session's frames go: the connection."""

    peer_frame_size: int

    @property
    def sessions(self) -> list[Session]:
        """Every session of the connection."""
        ...

    def send_encoded(self, frame: bytes) -> None:
        """Send a frame."""
        ...


class Session:
    """One session, from Begin to End. `open_link` answers the peer's Attach frames."""

    def __init__(
        self, outlet: Outlet, channel: int, open_link: Callable[[Session, p.Attach], Link]
    ) -> None:
        self.outlet = outlet
        self.channel = channel
        self.error: p.Error | None = None
        """Why the session has ended; None while it lives."""
        self._open_link = open_link
        self._links: dict[int, Link] = {}
        self._attaching: dict[str, Link] = {}
        self._free_handles: list[int] = []
        self._next_handle = 0
        self._next_incoming_id = 0
        self._window = WINDOW
        self._next_outgoing_id = 0
        self._peer_window = 0
        self._next_delivery_id = 0
        self._sent: dict[int, tuple[Link, Any]] = {}
        self._settling: dict[int, tuple[Link, Any]] = {}
        self._when_settled: asyncio.Future[None] | None = None
        self._waiting: deque[bytes] = deque()

    @property
    def links(self) -> list[Link]:
        """The links that are open or being opened."""
        return [*self._links.values(), *self._attaching.values()]

    def begin(self, remote_channel: int | None = None) -> None:
        """Send our Begin; `remote_channel` is the peer's channel when it began first."""
        self.send(p.Begin(remote_channel, 0, WINDOW, WINDOW, HANDLE_MAX))

    def on_begin(self, begin: p.Begin) -> None:
        """Read the peer's Begin."""
        self._next_incoming_id = begin.next_outgoing_id
        self._peer_window = begin.incoming_window

    def send(self, performative: p.Performative) -> None:
        """Send a frame of this session."""
        self.outlet.send_encoded(encode_frame(self.channel, performative))

    def send_flow(
        self,
        handle: int | None = None,
        *,
        delivery_count: int | None = None,
        credit: int | None = None,
        drain: bool | None = None,
    ) -> None:
        """Send our windows and, with a handle, a link's credit."""
        self._window = WINDOW
        self.send(
            p.Flow(
                self._next_incoming_id,
                WINDOW,
                self._next_outgoing_id,
                WINDOW,
                handle,
                delivery_count,
                credit,
                drain=drain,
            )
        )

    def attach(self, link: Link, attach: p.Attach) -> None:
        """Open a link: send the Attach with a free handle."""
        if self.error is not None:
            link.on_ended(self.error)
            return
        link.is_ours = True
        if self._free_handles:
            link.handle = self._free_handles.pop()
        else:
            link.handle = self._next_handle
            self._next_handle += 1
        self._attaching[link.name] = link
        self.send(attach._replace(handle=link.handle))

    def accept(
        self,
        attach: p.Attach,
        *,
        source: p.Source | None = None,
        max_message_size: int | None = None,
        properties: p.Map | None = None,
    ) -> None:
        """Answer the peer's Attach with our half, whose termini are the peer's unless given."""
        receives = not attach.role
        self.send(
            p.Attach(
                attach.name,
                attach.handle,
                receives,
                attach.snd_settle_mode,
                attach.rcv_settle_mode,
                source or attach.source or p.Source(),
                attach.target or p.Target(),
                initial_delivery_count=None if receives else 0,
                max_message_size=max_message_size,
                properties=properties,
            )
        )

    def refuse(self, attach: p.Attach, error: p.Error) -> None:
        """Answer an Attach with one whose own terminus is null, and a Detach with the reason."""
        self._links.pop(attach.handle, None)
        self.send(
            p.Attach(
                attach.name,
                attach.handle,
                not attach.role,
                source=None if attach.role else attach.source,
                target=attach.target if attach.role else None,
                initial_delivery_count=0 if attach.role else None,
            )
        )
        self.send(p.Detach(attach.handle, True, error))

    def detach(self, link: Link) -> None:
        """Ask the peer to end a link, which lives until the peer answers."""
        if not link.is_detaching and self.error is None:
            link.is_detaching = True
            self.send(p.Detach(link.handle, True))

    def has_link(self, link: Link) -> bool:
        """Whether a link that the peer opened has not ended."""
        return self._links.get(link.handle) is link

    def close_link(self, link: Link, error: p.Error) -> None:
        """Detach a link that the peer opened because of an error; its handle is free at once."""
        if not self.has_link(link):
            return
        del self._links[link.handle]
        self._forget(link)
        self.send(p.Detach(link.handle, True, error))

    def deliver(self, handle: int, tag: bytes | None, payload: bytes) -> None:
        """Send a delivery that is settled already."""
        self._transfer(handle, tag, payload, settled=True)

    def deliver_unsettled(self, link: Link, tag: bytes, payload: bytes, delivery: Any) -> None:
        """Send a delivery; `link.on_settled` is called with `delivery` when it is settled."""
        delivery_id = self._transfer(link.handle, tag, payload, settled=False)
        self._sent[delivery_id] = (link, delivery)

    def settle(self, delivery_id: int, state: p.DeliveryState) -> None:
        """Settle a delivery that we received, without waiting for the peer."""
        self.send(p.Disposition(True, delivery_id, None, True, state))

    def ask_to_settle(
        self, link: Link, delivery_id: int, state: p.DeliveryState, delivery: Any
    ) -> None:
        """Ask the peer to settle; `link.on_settled` is called with `delivery` and its answer."""
        self._settling[delivery_id] = (link, delivery)
        self.send(p.Disposition(True, delivery_id, None, False, state))

    async def wait_settled(self) -> None:
        """Wait until the peer has answered everything that `ask_to_settle` asked."""
        if self._settling:
            self._when_settled = asyncio.get_running_loop().create_future()
            await self._when_settled

    def on_frame(self, performative: p.Performative, payload: bytes) -> None:
        """Handle a frame of this session."""
        match performative:
            case p.Transfer():
                self._on_transfer(performative, payload)
            case p.Disposition():
                self._on_disposition(performative)
            case p.Flow():
                self._on_flow(performative)
            case p.Attach():
                self._on_attach(performative)
            case p.Detach():
                self._on_detach(performative)

    def end(self, error: p.Error) -> None:
        """End the session and all its links; nothing is sent."""
        self.error = error
        links = self.links
        for state in (self._links, self._attaching, self._sent, self._settling):
            state.clear()
        self._waiting.clear()
        self._announce_settled()
        for link in links:
            link.on_ended(error)

    def _on_attach(self, attach: p.Attach) -> None:
        ours = self._attaching.pop(attach.name, None)
        if ours is not None:
            self._links[attach.handle] = ours
            ours.on_attach(attach)
            return
        old = self._links.pop(attach.handle, None)
        if old is not None:
            self._forget(old)
            old.on_ended(None)
        try:
            if attach.handle > HANDLE_MAX:
                raise LinkRefused(
                    p.Error(NOT_ALLOWED, f"The handle {attach.handle} is above {HANDLE_MAX}.", {})
                )
            self._links[attach.handle] = self._open_link(self, attach)
        except LinkRefused as refusal:
            self.refuse(attach, refusal.error)

    def _on_detach(self, detach: p.Detach) -> None:
        link = self._links.pop(detach.handle, None)
        if link is None:
            return
        self._forget(link)
        link.on_ended(detach.error)
        if not link.is_detaching:
            self.send(p.Detach(link.handle, detach.closed))
        if link.is_ours:
            self._free_handles.append(link.handle)

    def _on_transfer(self, transfer: p.Transfer, payload: bytes) -> None:
        self._next_incoming_id = (self._next_incoming_id + 1) & SERIAL_MASK
        self._window -= 1
        if self._window < WINDOW // 2:
            self.send_flow()
        link = self._links.get(transfer.handle)
        if link is not None:
            link.on_transfer(transfer, payload)

    def _on_flow(self, flow: p.Flow) -> None:
        first = flow.next_incoming_id or 0
        self._peer_window = (first + flow.incoming_window - self._next_outgoing_id) & SERIAL_MASK
        if self._peer_window > SERIAL_MASK // 2:
            self._peer_window = 0
        self._send_waiting()
        if flow.handle is None:
            if flow.echo:
                self.send_flow()
            return
        link = self._links.get(flow.handle)
        if link is not None:
            link.on_flow(flow)

    def _on_disposition(self, disposition: p.Disposition) -> None:
        """A receiver settles what we sent; a sender answers what we asked it to settle."""
        pending = self._sent if disposition.role else self._settling
        first = disposition.first
        last = first if disposition.last is None else disposition.last
        numbers: Iterable[int] = range(first, last + 1)
        if last - first >= len(pending):
            numbers = [number for number in pending if first <= number <= last]
        for number in numbers:
            link, delivery = pending.pop(number, (None, None))
            if link is not None:
                link.on_settled(number, delivery, disposition)
        if self._when_settled is not None:
            self._announce_settled()

    def _announce_settled(self) -> None:
        waiter = self._when_settled
        if waiter is not None and not self._settling and not waiter.done():
            waiter.set_result(None)

    def _forget(self, link: Link) -> None:
        """Forget the deliveries of a link that has ended, because a disposition may come late."""
        for pending in (self._sent, self._settling):
            for number in [number for number, (owner, _) in pending.items() if owner is link]:
                del pending[number]
        self._announce_settled()

    def _transfer(self, handle: int, tag: bytes | None, payload: bytes, *, settled: bool) -> int:
        delivery_id, size = self._next_delivery_id, self.outlet.peer_frame_size
        self._next_delivery_id = (delivery_id + 1) & SERIAL_MASK
        transfer = p.Transfer(handle, delivery_id, tag, 0, settled, False)
        self._waiting.extend(encode_transfer(self.channel, transfer, payload, max_frame_size=size))
        self._send_waiting()
        return delivery_id

    def _send_waiting(self) -> None:
        while self._waiting and self._peer_window:
            self._peer_window -= 1
            self._next_outgoing_id = (self._next_outgoing_id + 1) & SERIAL_MASK
            self.outlet.send_encoded(self._waiting.popleft())
