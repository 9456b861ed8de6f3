"""Takes messages in and hands them to receivers. Entry points: `Queue.send`, `Queue.want`.

The same class is a queue, a subscription and a dead-letter queue. `settlement`, `sessions` and
`browse` hold the rules of those names. `_tick` runs when a lock or a time to live ends.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace

from devhost.servicebus.agenda import Agenda
from devhost.servicebus.entities.backlog import Backlog, Held, Lock, Receiver
from devhost.servicebus.entities.intake import Intake
from devhost.servicebus.entities.message import Content, Message, State
from devhost.servicebus.entities.queue_state import QueueRules, QueueState
from devhost.servicebus.entities.records import (
    Journal,
    MessageLocked,
    MessageRemoved,
    MessageStored,
)
from devhost.servicebus.entities.schedule import Schedule, cancel_scheduled
from devhost.servicebus.entities.sessions import SessionDesk
from devhost.servicebus.entities.settlement import count_delivery, expire, find_ready
from devhost.servicebus.errors import NOT_ALLOWED, BusError

RETRY_MS = 1_000
"""How long to wait before a failed store is tried again."""
_SLACK = 1_024


class Queue(QueueState):
    """One queue."""

    dead_letters: Queue | None

    def __init__(
        self,
        path: str,
        rules: QueueRules,
        *,
        journal: Journal,
        agenda: Agenda,
        dead_letters: Queue | None = None,
    ) -> None:
        super().__init__(path, rules, journal=journal, agenda=agenda, dead_letters=dead_letters)
        self.intake = Intake(path, rules.intake, journal=journal, agenda=agenda)
        self.schedule = Schedule()
        self.sessions = SessionDesk(self)
        self._expiries: list[tuple[int, Held]] = []
        self._armed_ms: int | None = None

    def send(self, contents: Sequence[Content]) -> list[int]:
        """Take messages in, all or none. Returns their numbers. Raises BusError.

        Nobody sees them before the journal has stored them.
        """
        for content in contents:
            self.intake.check(content)
        fresh, arriving, numbers = [], [], []
        for content in contents:
            if not self.intake.is_duplicate(content):
                fresh.append(content)
                arriving.append(self.intake.stamp(content))
                self.journal.write(MessageStored(self.path, arriving[-1]))
            numbers.append(self.intake.last_sequence)
        self.journal.after(
            lambda stored: self.take_in(arriving) if stored else self.intake.forget(fresh)
        )
        return numbers

    def send_copy(self, content: Content, *, origin: int, expires_ms: int | None) -> None:
        """Take in a copy of a topic's message; `origin` is its number in the topic."""
        message = self.intake.stamp(content, origin=origin, expires_ms=expires_ms)
        self.journal.write(MessageStored(self.path, message))
        self.journal.after(lambda stored: self.take_in([message]) if stored else None)

    def take_in(self, messages: Iterable[Message]) -> None:
        """See QueueState."""
        backlogs = {}
        for message in messages:
            if message.state is State.SCHEDULED:
                self.schedule.add(message)
                continue
            backlog = self.open_backlog(message.session_id)
            held = Held(message, backlog)
            self.messages[message.sequence] = held
            backlog.message_count += 1
            if message.expires_ms is not None:
                heapq.heappush(self._expiries, (message.expires_ms, held))
            if message.state is State.ACTIVE:
                backlog.push(held)
                backlogs[id(backlog)] = backlog
        for backlog in backlogs.values():
            self.serve(backlog)
        self._arm()

    def count_lost_locks(self, sequences: Iterable[int]) -> None:
        """Count a delivery of the messages that were locked when the process before this ended."""
        for sequence in sequences:
            held = self.messages[sequence]
            held.ready = False
            count_delivery(self, held)

    def attach(self, receiver: Receiver) -> None:
        """Add a receiver without a session. Raises BusError on a queue with sessions."""
        if self.rules.requires_session:
            raise BusError(
                NOT_ALLOWED,
                f"The entity {self.path!r} requires sessions: accept one to receive from it.",
            )
        receiver.backlog = self.open_backlog(None)

    def detach(self, receiver: Receiver) -> None:
        """Remove a receiver. Its session's lock ends; locks on messages stay until their end."""
        backlog = receiver.backlog
        if self.rules.requires_session:
            self.sessions.leave(receiver)
        elif backlog is not None:
            backlog.feed(receiver, 0)
        receiver.backlog = None

    def want(self, receiver: Receiver, credit: int) -> None:
        """Set how many messages the receiver can take from now on."""
        if receiver.backlog is None:  # it waits for a session
            receiver.credit = credit
            return
        receiver.backlog.feed(receiver, credit)
        self.serve(receiver.backlog)

    def serve(self, backlog: Backlog) -> None:
        """See QueueState."""
        if self.rules.requires_session and backlog.owner is None:
            self.sessions.offer(backlog)
            return
        while backlog.hungry:
            held = find_ready(self, backlog)
            if held is None:
                return
            backlog.pop()
            receiver = backlog.take_receiver()
            if receiver.deletes:
                self._hand_over_for_good(held, receiver)
            else:
                lock = self.lock(held, receiver)
                receiver.deliver(held.message, held, lock)

    def lock(self, held: Held, receiver: Receiver | None) -> Lock:
        """Lock a message. `receiver` is None if the message was requested by its number."""
        if self.rules.requires_session:
            lock = Lock(os.urandom(16), held.backlog.locked_until_ms, receiver)
        else:
            lock = Lock(os.urandom(16), self.agenda.now_ms() + self.rules.lock_ms, receiver)
            self.watch(held, lock)
        held.lock = lock
        self.locked[lock.tag] = held
        self.journal.write(MessageLocked(self.path, held.message.sequence))
        if receiver is not None and self.rules.requires_session:
            receiver.locks[lock.tag] = held
        return lock

    def renew(self, held: Held, lock: Lock) -> int:
        """Renew the lock of a message. Returns its new end."""
        lock.until_ms = self.agenda.now_ms() + self.rules.lock_ms
        self.watch(held, lock)
        return lock.until_ms

    def arm(self, due_ms: int) -> None:
        """See QueueState."""
        if self._armed_ms is None or due_ms < self._armed_ms:
            self._armed_ms = due_ms
            self.agenda.at(due_ms, self._tick)

    def cancel_scheduled(self, sequences: Sequence[int]) -> None:
        """Cancel scheduled messages, all or none. Raises BusError."""
        cancel_scheduled(self.path, self.schedule, sequences, self.journal)

    def _hand_over_for_good(self, held: Held, receiver: Receiver) -> None:
        message = held.message
        self.journal.write(MessageRemoved(self.path, message.sequence))

        def deleted(stored: bool) -> None:
            if stored:
                self.remove(held)
                receiver.deliver(message, held, None)
            else:
                receiver.credit += 1
                held.backlog.push(held)
                self.agenda.at(self.agenda.now_ms() + RETRY_MS, lambda: self._retry(receiver))

        self.journal.after(deleted)

    def _retry(self, receiver: Receiver) -> None:
        if receiver.backlog is not None:
            self.want(receiver, receiver.credit)

    def _tick(self) -> None:
        self._armed_ms = None
        now_ms = self.agenda.now_ms()
        self._activate(now_ms)
        for held in self.lock_ends.take_due(now_ms):
            count_delivery(self, held)
        self.sessions.end_overdue(now_ms)
        while self._expiries and self._expiries[0][0] <= now_ms:
            held = heapq.heappop(self._expiries)[1]
            if not held.gone and held.lock is None:
                expire(self, held)
        self._arm()

    def _activate(self, now_ms: int) -> None:
        waiting = self.schedule.take_due(now_ms)
        if not waiting:
            return
        active = []
        for message in waiting:
            active.append(self.intake.activate(message))
            self.journal.write(MessageRemoved(self.path, message.sequence))
            self.journal.write(MessageStored(self.path, active[-1]))
        later = [replace(message, due_ms=now_ms + RETRY_MS) for message in waiting]
        self.journal.after(lambda stored: self.take_in(active if stored else later))

    def _arm(self) -> None:
        if len(self._expiries) > 2 * len(self.messages) + _SLACK:
            self._expiries = [entry for entry in self._expiries if not entry[1].gone]
            heapq.heapify(self._expiries)
        dues = (
            self.schedule.next_due_ms,
            self.lock_ends.next_ms,
            self._expiries[0][0] if self._expiries else None,
            self.sessions.next_end_ms,
        )
        due_ms = min((due for due in dues if due is not None), default=None)
        if due_ms is not None:
            self.arm(due_ms)
