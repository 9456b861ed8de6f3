"""How do messages go out over a link, and how are they settled?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devhost.amqp import performatives as p
from devhost.amqp.types import Described, Symbol
from devhost.servicebus.entities.message import Held, Lock, Message
from devhost.servicebus.entities.queue import Queue
from devhost.servicebus.entities.receiver import Receiver
from devhost.servicebus.entities.settlement import settle
from devhost.servicebus.errors import (
    INTERNAL_ERROR,
    NOT_ALLOWED,
    SESSION_LOCK_LOST,
    TIMEOUT,
    BusError,
)
from devhost.servicebus.wire import echo, encode_delivery, read_outcome

if TYPE_CHECKING:
    from devhost.servicebus.session import Session

SESSION_FILTER = "com.microsoft:session-filter"
ACCEPT_TIMEOUT_MS = 60_000
"""How long a link waits for the next session if its client does not say."""
MAX_ACCEPT_TIMEOUT_MS = 3_600_000
_SETTLED = 1
_ROUND = 0xFFFFFFFF
_DOTNET_EPOCH_TICKS = 621_355_968_000_000_000


class OutboundLink:
    """A client's receiver, on a queue or a session of one."""

    def __init__(self, session: Session, attach: p.Attach, queue: Queue) -> None:
        self._session = session
        self._attach = attach
        self._queue = queue
        self._delivery_count = 0
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
        """See Link."""
        if flow.link_credit is None:
            return
        credit = ((flow.delivery_count or 0) + flow.link_credit - self._delivery_count) & _ROUND
        self._draining = bool(flow.drain)
        self._queue.want(self._receiver, credit if credit <= _ROUND // 2 else 0)
        if flow.drain:
            self._session.broker.turn.after(self._drained)
        elif flow.echo:
            self._send_credit()

    def on_transfer(self, transfer: p.Transfer, payload: bytes) -> None:
        """A receiver sends nothing."""

    def on_settled(self, delivery_id: int, delivery: Any, disposition: p.Disposition) -> None:
        """See Link. Who leaves it unsettled waits for our answer, which says that it is true."""
        held, lock = delivery
        state = disposition.state
        try:
            settle(self._queue, held, lock, read_outcome(state))
        except BusError as refusal:
            if not disposition.settled:
                self._answer(delivery_id, p.Rejected(self._session.broker.error(refusal)))
            return
        if not disposition.settled:
            self._session.broker.turn.after(
                lambda kept: self._answer(delivery_id, echo(state) if kept else self._not_kept())
            )

    def on_detached(self) -> None:
        """See Link."""
        self._open = False
        self._queue.detach(self._receiver)

    def _accept(self, wanted: Any) -> None:
        session_id = wanted.value if isinstance(wanted, Described) else wanted
        if session_id is None:
            self._queue.sessions.accept_next(self._receiver)
            if self._receiver.waits:
                agenda = self._session.broker.agenda
                agenda.at(agenda.now_ms() + self._timeout_ms(), self._give_up)
        elif isinstance(session_id, str):
            self._queue.sessions.accept(self._receiver, session_id)
        else:
            raise BusError(NOT_ALLOWED, "A session id is a string.")

    def _timeout_ms(self) -> int:
        given = (self._attach.properties or {}).get("com.microsoft:timeout")
        if not isinstance(given, int) or given <= 0:
            return ACCEPT_TIMEOUT_MS
        return min(int(given), MAX_ACCEPT_TIMEOUT_MS)

    def _give_up(self) -> None:
        if self._open and self._receiver.waits:
            self.on_detached()
            self._session.links.pop(self._attach.handle, None)
            refusal = BusError(TIMEOUT, "No session with a message became available in time.")
            self._session.refuse(self._attach, refusal)

    def _granted(self) -> None:
        lane, source = self._receiver.lane, self._attach.source
        assert lane is not None
        assert isinstance(source, p.Source)
        filters = {**(source.filter or {}), Symbol(SESSION_FILTER): lane.session_id}
        ticks = _DOTNET_EPOCH_TICKS + lane.locked_until_ms * 10_000
        self._answer_attach(
            source._replace(filter=filters), {Symbol("com.microsoft:locked-until-utc"): ticks}
        )

    def _answer_attach(self, source: Any, properties: dict[Any, Any]) -> None:
        attach, broker = self._attach, self._session.broker
        tracking = f"{broker.container_id}_{broker.next_number()}"
        self._session.send(
            p.Attach(
                attach.name,
                attach.handle,
                False,
                attach.snd_settle_mode,
                attach.rcv_settle_mode,
                source,
                attach.target or p.Target(),
                initial_delivery_count=0,
                properties={Symbol("com.microsoft:tracking-id"): tracking, **properties},
            )
        )

    def _deliver(self, message: Message, held: Held, lock: Lock | None) -> None:
        if not self._open:
            return
        self._delivery_count = (self._delivery_count + 1) & _ROUND
        payload, handle = encode_delivery(message, lock), self._attach.handle
        if lock is None:
            self._session.deliver(handle, None, payload)
        else:
            self._session.deliver_unsettled(self, handle, lock.tag, payload, (held, lock))

    def _lost(self) -> None:
        self._open = False
        refusal = BusError(SESSION_LOCK_LOST, "The session lock has expired: accept it again.")
        self._session.close_link(self._attach.handle, refusal)

    def _drained(self, kept: bool) -> None:
        """All that could be sent for a drain is sent: use up what credit is left."""
        if self._open and self._draining:
            self._delivery_count = (self._delivery_count + self._receiver.credit) & _ROUND
            self._queue.want(self._receiver, 0)
            self._send_credit(drain=True)

    def _send_credit(self, *, drain: bool | None = None) -> None:
        self._session.send_flow(
            self._attach.handle,
            delivery_count=self._delivery_count,
            credit=self._receiver.credit,
            drain=drain,
        )

    def _answer(self, delivery_id: int, state: Any) -> None:
        if self._open:
            self._session.send(p.Disposition(False, delivery_id, None, True, state))

    def _not_kept(self) -> p.Rejected:
        refusal = BusError(INTERNAL_ERROR, "The settlement could not be stored.")
        return p.Rejected(self._session.broker.error(refusal))
