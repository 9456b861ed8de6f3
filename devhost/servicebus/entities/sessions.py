"""Gives each session of a queue to one receiver at a time, until its lock expires. Entry points:
`SessionDesk.accept`, `end_overdue`.

A session is one backlog of a queue. The receiver that accepts it gets its messages alone and in
order, until it leaves or the lock ends.
"""

from __future__ import annotations

from collections import deque

from devhost.servicebus.entities.backlog import Backlog, Receiver
from devhost.servicebus.entities.queue_state import QueueState
from devhost.servicebus.entities.records import SessionStateSet
from devhost.servicebus.entities.settlement import count_delivery, find_ready, release
from devhost.servicebus.errors import (
    NOT_ALLOWED,
    SESSION_CANNOT_BE_LOCKED,
    SESSION_LOCK_LOST,
    BusError,
)

GRACE_MS = 1_000
"""How long after its end a session's lock is still valid."""


class SessionDesk:
    """The sessions of one queue."""

    def __init__(self, queue: QueueState) -> None:
        self._queue = queue
        self._waiting: deque[Receiver] = deque()
        self._available: dict[str, Backlog] = {}
        self._owned: dict[str, Backlog] = {}

    def accept(self, receiver: Receiver, session_id: str) -> None:
        """Lock a named session for the receiver, which may be an empty one. Raises BusError."""
        self._check_queue()
        backlog = self._queue.open_backlog(session_id)
        if backlog.owner is not None:
            raise BusError(
                SESSION_CANNOT_BE_LOCKED,
                f"The requested session {session_id!r} cannot be accepted: "
                "another receiver has locked it.",
            )
        self._grant(backlog, receiver)

    def accept_next(self, receiver: Receiver) -> None:
        """Lock the next session that has a message, now or as soon as there is one."""
        self._check_queue()
        while self._available:
            backlog = self._available.pop(next(iter(self._available)))
            if backlog.owner is None and find_ready(self._queue, backlog) is not None:
                self._grant(backlog, receiver)
                return
        receiver.waits = True
        self._waiting.append(receiver)

    def offer(self, backlog: Backlog) -> None:
        """Give a free session with a message to a waiting receiver, or note it as available."""
        session_id = backlog.session_id
        if session_id is None or find_ready(self._queue, backlog) is None:
            return
        while self._waiting:
            receiver = self._waiting.popleft()
            if receiver.waits:
                self._available.pop(session_id, None)
                self._grant(backlog, receiver)
                return
        self._available[session_id] = backlog

    def leave(self, receiver: Receiver) -> None:
        """Remove a receiver: its messages wait again, and no delivery is counted."""
        if receiver.waits:
            receiver.waits = False
            self._waiting.remove(receiver)
        backlog = receiver.backlog
        if backlog is not None and backlog.owner is receiver:
            self._end(backlog, receiver)

    def renew(self, session_id: str, receiver_name: str | None) -> int:
        """Renew the lock of a session. Returns its new end. Raises BusError."""
        backlog = self.find_owned(session_id, receiver_name)
        backlog.locked_until_ms = self._queue.agenda.now_ms() + self._queue.rules.lock_ms
        return backlog.locked_until_ms

    def find_owned(self, session_id: str, receiver_name: str | None) -> Backlog:
        """The session that this receiver (None: any) has locked. Raises BusError."""
        backlog = self._owned.get(session_id)
        owner = backlog.owner if backlog is not None else None
        if backlog is None or owner is None or receiver_name not in (None, owner.name):
            raise BusError(
                SESSION_LOCK_LOST,
                f"The lock on session {session_id!r} has expired or was never taken.",
            )
        return backlog

    def set_state(self, session_id: str, state: bytes | None, receiver_name: str | None) -> None:
        """Store a session's state; None removes it. Raises BusError."""
        backlog = self.find_owned(session_id, receiver_name)
        now_ms = self._queue.agenda.now_ms()
        self._queue.journal.write(SessionStateSet(self._queue.path, session_id, state, now_ms))

        def on_stored(stored: bool) -> None:
            if stored:
                self.load_state(backlog, state, now_ms)

        self._queue.journal.after(on_stored)

    def load_state(self, backlog: Backlog, state: bytes | None, set_ms: int) -> None:
        """Take a state that is stored."""
        backlog.state, backlog.state_set_ms = state, set_ms
        self._queue.tidy(backlog)

    def list_sessions(self, updated_after_ms: int | None) -> list[str]:
        """Sessions with messages or state (None), or those whose state was set after a time."""
        return sorted(
            backlog.session_id
            for backlog in self._queue.backlogs.values()
            if backlog.session_id is not None
            and (
                (backlog.message_count or backlog.state is not None)
                if updated_after_ms is None
                else backlog.state is not None and backlog.state_set_ms > updated_after_ms
            )
        )

    @property
    def next_end_ms(self) -> int | None:
        """When the first lock ends, grace included."""
        ends = [backlog.locked_until_ms for backlog in self._owned.values()]
        return min(ends) + GRACE_MS if ends else None

    def end_overdue(self, now_ms: int) -> None:
        """End the session locks that have expired, and count a delivery of their messages."""
        overdue = [
            backlog
            for backlog in self._owned.values()
            if backlog.locked_until_ms + GRACE_MS <= now_ms and backlog.owner is not None
        ]
        for backlog in overdue:
            receiver = backlog.owner
            assert receiver is not None
            for held in list(receiver.locks.values()):
                if held.lock is not None and not held.lock.settling:
                    count_delivery(self._queue, held)
            self._end(backlog, receiver)
            receiver.backlog = None
            receiver.session_lost()

    def _end(self, backlog: Backlog, receiver: Receiver) -> None:
        """Free the session when everything that its receiver settled is stored.

        All its messages must be in the backlog again before the next receiver gets one of them.
        """
        backlog.feed(receiver, 0)
        self._owned.pop(backlog.session_id or "", None)

        def free(stored: bool) -> None:
            for held in list(receiver.locks.values()):
                release(self._queue, held)
            backlog.owner = None
            self._queue.serve(backlog)
            self._queue.tidy(backlog)

        self._queue.journal.after(free)

    def _grant(self, backlog: Backlog, receiver: Receiver) -> None:
        session_id = backlog.session_id
        assert session_id is not None
        backlog.owner = receiver
        backlog.locked_until_ms = self._queue.agenda.now_ms() + self._queue.rules.lock_ms
        self._owned[session_id] = backlog
        self._available.pop(session_id, None)
        receiver.backlog, receiver.waits = backlog, False
        self._queue.arm(backlog.locked_until_ms + GRACE_MS)
        receiver.session_granted()
        backlog.feed(receiver, receiver.credit)
        self._queue.serve(backlog)

    def _check_queue(self) -> None:
        if not self._queue.rules.requires_session:
            raise BusError(
                NOT_ALLOWED,
                f"The entity {self._queue.path!r} does not support sessions.",
            )
