"""Keeps the windows, links and deliveries of one AMQP session. Entry point: `Session`.

The server's side of AMQP 1.0, part 2, sections 2.5 to 2.7. A link lives under the client's handle
in both directions. What comes for an unknown handle is ignored: clients detach what an error has
detached already.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from devhost.amqp import performatives as p
from devhost.amqp.frames import transfer_frames
from devhost.servicebus.errors import NOT_ALLOWED, BusError
from devhost.servicebus.link import Link
from devhost.servicebus.links import open_link
from devhost.servicebus.policies import Right

if TYPE_CHECKING:
    from devhost.servicebus.connection import Connection

WINDOW = 5_000
HANDLE_MAX = 4_095
_ROUND = 0xFFFFFFFF


class Session:
    """One session of a connection, from Begin to End."""

    def __init__(self, connection: Connection, channel: int, begin: p.Begin) -> None:
        self.connection = connection
        self.broker = connection.broker
        self.channel = channel
        self.links: dict[int, Link] = {}
        self._needs: dict[int, tuple[str, tuple[Right, ...]]] = {}
        self._next_incoming_id = begin.next_outgoing_id
        self._window = WINDOW
        self._next_outgoing_id = 0
        self._peer_window = begin.incoming_window
        self._next_delivery_id = 0
        self._unsettled: dict[int, tuple[Link, Any]] = {}
        self._waiting: deque[bytes] = deque()
        self.send(p.Begin(channel, 0, WINDOW, WINDOW, HANDLE_MAX))

    def require(self, handle: int, path: str, *rights: Right) -> None:
        """Raise BusError unless the client has one of the rights; asked again when a token ends."""
        self.connection.grants.check(path, *rights)
        self._needs[handle] = (path, rights)

    def end_refused_links(self) -> None:
        """Detach the links for which the client has no right any more."""
        for handle, (path, rights) in list(self._needs.items()):
            link = self.links.get(handle)
            if link is None:
                continue
            try:
                self.connection.grants.check(path, *rights)
            except BusError as refusal:
                link.on_detached()
                self.close_link(handle, refusal)

    def send(self, performative: p.Performative) -> None:
        """Send a frame at the end of this turn."""
        self.connection.send(self.channel, performative)

    def send_flow(
        self,
        handle: int | None = None,
        *,
        delivery_count: int | None = None,
        credit: int | None = None,
        drain: bool | None = None,
    ) -> None:
        """Tell our windows and, with a handle, a link's credit."""
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

    def deliver(self, handle: int, tag: bytes | None, payload: bytes) -> None:
        """Send a delivery that is settled already."""
        self._transfer(p.Transfer(handle, self._delivery_id(), tag, 0, True, False), payload)

    def deliver_unsettled(
        self, link: Link, handle: int, tag: bytes, payload: bytes, delivery: Any
    ) -> None:
        """Send a delivery; `link.on_settled` will hear of `delivery`."""
        delivery_id = self._delivery_id()
        self._unsettled[delivery_id] = (link, delivery)
        self._transfer(p.Transfer(handle, delivery_id, tag, 0, False, False), payload)

    def refuse(self, attach: p.Attach, refusal: BusError) -> None:
        """Answer an Attach with one whose own end is null, and a Detach that says why."""
        source = None if attach.role else attach.source
        target = attach.target if attach.role else None
        self.send(
            p.Attach(
                attach.name,
                attach.handle,
                not attach.role,
                source=source,
                target=target,
                initial_delivery_count=0 if attach.role else None,
            )
        )
        self.close_link(attach.handle, refusal)

    def close_link(self, handle: int, refusal: BusError) -> None:
        """Detach a link because of an error."""
        link = self.links.pop(handle, None)
        if link is not None:
            self._forget(link)
        self.send(p.Detach(handle, True, self.broker.error(refusal)))

    def on_frame(self, performative: Any, payload: bytes) -> None:
        """A frame of this session."""
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

    def on_ended(self) -> None:
        """End, or the connection is gone: so are all links."""
        links, self.links = list(self.links.values()), {}
        self._unsettled.clear()
        self._waiting.clear()
        for link in links:
            link.on_detached()

    def _on_attach(self, attach: p.Attach) -> None:
        self._needs.pop(attach.handle, None)
        old = self.links.pop(attach.handle, None)
        if old is not None:
            self._forget(old)
            old.on_detached()
        if attach.handle > HANDLE_MAX:
            self.refuse(attach, BusError(NOT_ALLOWED, f"Handles end at {HANDLE_MAX}."))
            return
        try:
            link = open_link(self, attach)
        except BusError as refusal:
            self.refuse(attach, refusal)
            return
        self.links[attach.handle] = link

    def _on_detach(self, detach: p.Detach) -> None:
        link = self.links.pop(detach.handle, None)
        if link is None:
            return
        self._forget(link)
        link.on_detached()
        self.send(p.Detach(detach.handle, detach.closed))

    def _on_transfer(self, transfer: p.Transfer, payload: bytes) -> None:
        self._next_incoming_id = (self._next_incoming_id + 1) & _ROUND
        self._window -= 1
        if self._window < WINDOW // 2:
            self.send_flow()
        link = self.links.get(transfer.handle)
        if link is not None:
            link.on_transfer(transfer, payload)

    def _on_flow(self, flow: p.Flow) -> None:
        first = flow.next_incoming_id or 0
        self._peer_window = (first + flow.incoming_window - self._next_outgoing_id) & _ROUND
        if self._peer_window > _ROUND // 2:
            self._peer_window = 0
        self._send_waiting()
        if flow.handle is None:
            if flow.echo:
                self.send_flow()
            return
        link = self.links.get(flow.handle)
        if link is not None:
            link.on_flow(flow)

    def _on_disposition(self, disposition: p.Disposition) -> None:
        if not disposition.role:  # of a delivery to us, which we have settled when we answered
            return
        first = disposition.first
        last = first if disposition.last is None else disposition.last
        if last - first < len(self._unsettled):
            numbers = list(range(first, last + 1))
        else:
            numbers = [number for number in self._unsettled if first <= number <= last]
        for number in numbers:
            link, delivery = self._unsettled.pop(number, (None, None))
            if link is not None:
                link.on_settled(number, delivery, disposition)

    def _forget(self, link: Link) -> None:
        """A late disposition of a link that is gone must find nothing."""
        gone = [number for number, (owner, _) in self._unsettled.items() if owner is link]
        for number in gone:
            del self._unsettled[number]

    def _delivery_id(self) -> int:
        number = self._next_delivery_id
        self._next_delivery_id = (number + 1) & _ROUND
        return number

    def _transfer(self, transfer: p.Transfer, payload: bytes) -> None:
        size = self.connection.peer_frame_size
        self._waiting.extend(transfer_frames(self.channel, transfer, payload, max_frame_size=size))
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting and self._peer_window:
            self._peer_window -= 1
            self._next_outgoing_id = (self._next_outgoing_id + 1) & _ROUND
            self.connection.send_encoded(self._waiting.popleft())
