"""Who has which session, and who gets the next one?

A session is one lane of a queue. Whoever accepts it has its messages alone and in order, until
the receiver leaves or the lock ends.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from devhost.servicebus.entities.lane import Lane
from devhost.servicebus.entities.receiver import Receiver
from devhost.servicebus.entities.records import SessionStateSet
from devhost.servicebus.entities.settlement import count_delivery
from devhost.servicebus.errors import (
    NOT_ALLOWED,
    SESSION_CANNOT_BE_LOCKED,
    SESSION_LOCK_LOST,
    BusError,
)

if TYPE_CHECKING:
    from devhost.servicebus.entities.queue import Queue

GRACE_MS = 1_000
"""How long after its end a session's lock is still honoured."""


class SessionDesk:
    """The sessions of one queue."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._waiting: deque[Receiver] = deque()
        self._available: dict[str, Lane] = {}
        self._owned: dict[str, Lane] = {}

    def accept(self, receiver: Receiver, session_id: str) -> None:
        """Lock a named session for the receiver, which may be an empty one. Raises BusError."""
        self._check_queue()
        lane = self._queue.lane(session_id)
        if lane.owner is not None:
            raise BusError(
                SESSION_CANNOT_BE_LOCKED,
                f"The requested session {session_id!r} cannot be accepted: "
                "another receiver has locked it.",
            )
        self._grant(lane, receiver)

    def accept_next(self, receiver: Receiver) -> None:
        """Lock the next session that has a message, now or as soon as there is one."""
        self._check_queue()
        while self._available:
            lane = self._available.pop(next(iter(self._available)))
            if lane.owner is None and self._queue.first_ready(lane) is not None:
                self._grant(lane, receiver)
                return
        receiver.waits = True
        self._waiting.append(receiver)

    def offer(self, lane: Lane) -> None:
        """A session that nobody has: to who waits, or on the list if it has a message."""
        session_id = lane.session_id
        if session_id is None or self._queue.first_ready(lane) is None:
            return
        while self._waiting:
            receiver = self._waiting.popleft()
            if receiver.waits:
                self._available.pop(session_id, None)
                self._grant(lane, receiver)
                return
        self._available[session_id] = lane

    def leave(self, receiver: Receiver) -> None:
        """The receiver closes: what it holds waits again, no delivery counted."""
        if receiver.waits:
            receiver.waits = False
            self._waiting.remove(receiver)
        lane = receiver.lane
        if lane is not None and lane.owner is receiver:
            self._end(lane, receiver)

    def renew(self, session_id: str, receiver_name: str | None) -> int:
        """The new end of the session's lock. Raises BusError."""
        lane = self.owned(session_id, receiver_name)
        lane.locked_until_ms = self._queue.agenda.now_ms() + self._queue.rules.lock_ms
        return lane.locked_until_ms

    def owned(self, session_id: str, receiver_name: str | None) -> Lane:
        """The session, which this receiver (None: any) must have. Raises BusError."""
        lane = self._owned.get(session_id)
        owner = lane.owner if lane is not None else None
        if lane is None or owner is None or receiver_name not in (None, owner.name):
            raise BusError(
                SESSION_LOCK_LOST,
                f"The lock on session {session_id!r} has expired or was never taken.",
            )
        return lane

    def set_state(self, session_id: str, state: bytes | None, receiver_name: str | None) -> None:
        """Keep (None: drop) a session's state. Raises BusError."""
        lane = self.owned(session_id, receiver_name)
        now_ms = self._queue.agenda.now_ms()
        self._queue.journal.write(SessionStateSet(self._queue.path, session_id, state, now_ms))

        def kept_state(kept: bool) -> None:
            if kept:
                self.load_state(lane, state, now_ms)

        self._queue.journal.after(kept_state)

    def load_state(self, lane: Lane, state: bytes | None, set_ms: int) -> None:
        """The state is on disk."""
        lane.state, lane.state_set_ms = state, set_ms
        self._queue.tidy(lane)

    def list_sessions(self, updated_after_ms: int | None) -> list[str]:
        """Sessions with messages or state (None), or those whose state was set after a time."""
        return sorted(
            lane.session_id
            for lane in self._queue.lanes.values()
            if lane.session_id is not None
            and (
                (lane.message_count or lane.state is not None)
                if updated_after_ms is None
                else lane.state is not None and lane.state_set_ms > updated_after_ms
            )
        )

    @property
    def next_end_ms(self) -> int | None:
        """When the first lock ends, grace included."""
        ends = [lane.locked_until_ms for lane in self._owned.values()]
        return min(ends) + GRACE_MS if ends else None

    def end_overdue(self, now_ms: int) -> None:
        """Take sessions from receivers that have not renewed them; a delivery is counted."""
        overdue = [
            lane
            for lane in self._owned.values()
            if lane.locked_until_ms + GRACE_MS <= now_ms and lane.owner is not None
        ]
        for lane in overdue:
            receiver = lane.owner
            assert receiver is not None
            for held in list(receiver.locks.values()):
                if held.lock is not None and not held.lock.settling:
                    count_delivery(self._queue, held)
            self._end(lane, receiver)
            receiver.lane = None
            receiver.session_lost()

    def _end(self, lane: Lane, receiver: Receiver) -> None:
        """Nothing more for this receiver; the session is free after what it settled is on disk.

        All its messages must lie in the lane again before the next receiver gets one of them.
        """
        lane.feed(receiver, 0)
        self._owned.pop(lane.session_id or "", None)

        def free(kept: bool) -> None:
            for held in list(receiver.locks.values()):
                self._queue.unlock(held)
                self._queue.put_back(held)
            lane.owner = None
            self._queue.serve(lane)
            self._queue.tidy(lane)

        self._queue.journal.after(free)

    def _grant(self, lane: Lane, receiver: Receiver) -> None:
        session_id = lane.session_id
        assert session_id is not None
        lane.owner = receiver
        lane.locked_until_ms = self._queue.agenda.now_ms() + self._queue.rules.lock_ms
        self._owned[session_id] = lane
        self._available.pop(session_id, None)
        receiver.lane, receiver.waits = lane, False
        self._queue.arm(lane.locked_until_ms + GRACE_MS)
        receiver.session_granted()
        lane.feed(receiver, receiver.credit)
        self._queue.serve(lane)

    def _check_queue(self) -> None:
        if not self._queue.rules.requires_session:
            raise BusError(
                NOT_ALLOWED,
                f"The entity {self._queue.path!r} does not support sessions.",
            )
