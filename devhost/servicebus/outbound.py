"""Delivers messages of a queue to a client's receiver and settles them. Entry point:
`OutboundLink`."""

from __future__ import annotations

from typing import Any

from devhost.amqp import performatives as p
from devhost.amqp.sender import Sender
from devhost.amqp.session import Session
from devhost.amqp.types import Described, Symbol
from devhost.servicebus.broker import Broker
from devhost.servicebus.entities.backlog import Held, Lock, Receiver
from devhost.servicebus.entities.message import Message
from devhost.servicebus.entities.queue import Queue
from devhost.servicebus.entities.settlement import settle
from devhost.servicebus.errors import (
    INTERNAL_ERROR,
    NOT_ALLOWED,
    SESSION_LOCK_LOST,
    TIMEOUT,
    BusError,
)
from devhost.servicebus.wire import encode_delivery, make_settled_state, read_outcome

SESSION_FILTER = "com.microsoft:session-filter"
ACCEPT_TIMEOUT_MS = 60_000
"""How long a link waits for the next session unless its client gives a time."""
MAX_ACCEPT_TIMEOUT_MS = 3_600_000
_SETTLED = 1
_DOTNET_EPOCH_TICKS = 621_355_968_000_000_000


class OutboundLink(Sender):
    """A client's receiver, on a queue or a session of one."""

    def __init__(self, session: Session, attach: p.Attach, queue: Queue, broker: Broker) -> None:
        super().__init__(session, attach.name, attach.handle)
        self._attach = attach
        self._queue = queue
        self._broker = broker
        self._draining = False
        self._open = True
        self._receiver = Receiver(
            name=attach.name,
            deletes=attach.snd_settle_mode == _SETTLED,
            deliver=self._deliver,
            session_granted=self._granted,
            session_lost=self._lost,
        )
        filters = attach.source.filter if isinstance(attach.source, p.Source) else None
        if filters is not None and SESSION_FILTER in filters:
            self._accept(filters[SESSION_FILTER])
        else:
            queue.attach(self._receiver)
            self._answer_attach(attach.source, {})

    def on_flow(self, flow: p.Flow) -> None:
        """Ask the queue for as many messages as the client can take."""
        if flow.link_credit is None:
            return
        self._draining = bool(flow.drain)
        self._queue.want(self._receiver, self.read_credit(flow))
        if flow.drain:
            self._broker.commit.after(self._end_drain)
        elif flow.echo:
            self.send_credit(self._receiver.credit)

    def on_settled(self, delivery_id: int, delivery: Any, disposition: p.Disposition) -> None:
        """Settle a message; a client that asks gets its answer when the outcome is on disk."""
        held, lock = delivery
        state = disposition.state
        try:
            settle(self._queue, held, lock, read_outcome(state))
        except BusError as refusal:
            if not disposition.settled:
                self._answer(delivery_id, p.Rejected(self._broker.error(refusal)))
            return
        if not disposition.settled:
            self._broker.commit.after(
                lambda stored: self._answer(
                    delivery_id, make_settled_state(state) if stored else self._make_store_error()
                )
            )

    def on_ended(self, error: p.Error | None) -> None:
        """Leave the queue; a session's lock ends with its link."""
        self._open = False
        self._queue.detach(self._receiver)

    def _accept(self, wanted: Any) -> None:
        session_id = wanted.value if isinstance(wanted, Described) else wanted
        if session_id is None:
            self._queue.sessions.accept_next(self._receiver)
            if self._receiver.waits:
                agenda = self._broker.agenda
                agenda.at(agenda.now_ms() + self._timeout_ms(), self._give_up)
        elif isinstance(session_id, str):
            self._queue.sessions.accept(self._receiver, session_id)
        else:
            raise BusError(NOT_ALLOWED, "A session id must be a string.")

    def _timeout_ms(self) -> int:
        given = (self._attach.properties or {}).get("com.microsoft:timeout")
        if not isinstance(given, int) or given <= 0:
            return ACCEPT_TIMEOUT_MS
        return min(int(given), MAX_ACCEPT_TIMEOUT_MS)

    def _give_up(self) -> None:
        if self._open and self._receiver.waits:
            self.on_ended(None)
            refusal = BusError(TIMEOUT, "No session with a message became available in time.")
            self.session.refuse(self._attach, self._broker.error(refusal))

    def _granted(self) -> None:
        backlog, source = self._receiver.backlog, self._attach.source
        assert backlog is not None
        assert isinstance(source, p.Source)
        filters = {**(source.filter or {}), Symbol(SESSION_FILTER): backlog.session_id}
        ticks = _DOTNET_EPOCH_TICKS + backlog.locked_until_ms * 10_000
        self._answer_attach(
            source._replace(filter=filters), {Symbol("com.microsoft:locked-until-utc"): ticks}
        )

    def _answer_attach(self, source: Any, properties: dict[Any, Any]) -> None:
        tracking = {Symbol("com.microsoft:tracking-id"): self._broker.next_tracking_id()}
        self.session.accept(self._attach, source=source, properties=tracking | properties)

    def _deliver(self, message: Message, held: Held, lock: Lock | None) -> None:
        if not self._open:
            return
        self.count()
        payload = encode_delivery(message, lock)
        if lock is None:
            self.session.deliver(self.handle, None, payload)
        else:
            self.session.deliver_unsettled(self, lock.tag, payload, (held, lock))

    def _lost(self) -> None:
        self._open = False
        refusal = BusError(SESSION_LOCK_LOST, "The session lock has expired: accept it again.")
        self.session.close_link(self, self._broker.error(refusal))

    def _end_drain(self, stored: bool) -> None:
        """Use up the credit that is left: everything that could be sent for a drain is sent."""
        if self._open and self._draining:
            self.count(self._receiver.credit)
            self._queue.want(self._receiver, 0)
            self.send_credit(0, drain=True)

    def _answer(self, delivery_id: int, state: Any) -> None:
        if self._open:
            self.session.send(p.Disposition(False, delivery_id, None, True, state))

    def _make_store_error(self) -> p.Rejected:
        refusal = BusError(INTERNAL_ERROR, "The settlement could not be stored.")
        return p.Rejected(self._broker.error(refusal))
