"""Holds the messages, backlogs and locks of one queue. Entry point: `QueueState`.

`settlement` and `sessions` work on this part of a queue; `queue` adds how messages come in and go
out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from devhost.servicebus.agenda import Agenda
from devhost.servicebus.entities.backlog import Backlog, Held, Lock
from devhost.servicebus.entities.intake import IntakeRules
from devhost.servicebus.entities.lock_ends import LockEnds
from devhost.servicebus.entities.message import Message
from devhost.servicebus.entities.records import Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRules:
    """The properties of a queue or subscription in Config.json. Times in milliseconds."""

    lock_ms: int = 60_000
    max_delivery_count: int | None = 10
    dead_letter_on_expiry: bool = False
    intake: IntakeRules = field(default_factory=IntakeRules)

    @property
    def requires_session(self) -> bool:
        """Whether messages are received by session."""
        return self.intake.requires_session


class QueueState:
    """Messages, the receivers that wait for them, and the locks on them."""

    def __init__(
        self,
        path: str,
        rules: QueueRules,
        *,
        journal: Journal,
        agenda: Agenda,
        dead_letters: QueueState | None = None,
    ) -> None:
        self.path = path
        self.rules = rules
        self.journal = journal
        self.agenda = agenda
        self.dead_letters = dead_letters
        self.messages: dict[int, Held] = {}
        """Active and deferred messages by sequence number."""
        self.backlogs: dict[str | None, Backlog] = {}
        self.locked: dict[bytes, Held] = {}
        """Messages under a lock, by its tag."""
        self.lock_ends = LockEnds()

    def take_in(self, messages: Iterable[Message]) -> None:
        """Show messages that are stored already to receivers."""
        raise NotImplementedError

    def serve(self, backlog: Backlog) -> None:
        """Hand out what waits in a backlog to the receivers that wait there."""
        raise NotImplementedError

    def arm(self, due_ms: int) -> None:
        """Plan that this queue is checked at `due_ms` or earlier."""
        raise NotImplementedError

    def open_backlog(self, session_id: str | None) -> Backlog:
        """The backlog of a session, made if needed; a plain queue has only one."""
        key = session_id if self.rules.requires_session else None
        backlog = self.backlogs.get(key)
        if backlog is None:
            backlog = self.backlogs[key] = Backlog(key)
        return backlog

    def watch(self, held: Held, lock: Lock) -> None:
        """Plan the end of a lock."""
        self.lock_ends.add(held, lock)
        self.arm(lock.until_ms)

    def unlock(self, held: Held) -> None:
        """Remove the lock of a message, which stays in the queue."""
        lock = held.lock
        if lock is not None:
            held.lock = None
            self.locked.pop(lock.tag, None)
            if lock.receiver is not None:
                lock.receiver.locks.pop(lock.tag, None)

    def remove(self, held: Held) -> None:
        """Remove a message whose removal is in the journal already."""
        held.gone, held.ready = True, False
        self.unlock(held)
        if self.messages.pop(held.message.sequence, None) is not None:
            held.backlog.message_count -= 1
        self.tidy(held.backlog)

    def tidy(self, backlog: Backlog) -> None:
        """Forget a session that is empty."""
        if backlog.session_id is not None and backlog.is_empty:
            self.backlogs.pop(backlog.session_id, None)
