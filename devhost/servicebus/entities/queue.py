"""How does a queue keep messages and hand them out?

The same class is a queue, a subscription and a dead-letter queue. `settlement`, `sessions` and
`browse` hold the rules of those names and work on it.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from devhost.servicebus.agenda import Agenda
from devhost.servicebus.entities.intake import Intake, IntakeRules
from devhost.servicebus.entities.lane import Lane
from devhost.servicebus.entities.lock_ends import LockEnds
from devhost.servicebus.entities.message import Content, Held, Lock, Message, State
from devhost.servicebus.entities.receiver import Receiver
from devhost.servicebus.entities.records import Gone, Journal, Kept
from devhost.servicebus.entities.schedule import Schedule, cancel_scheduled
from devhost.servicebus.entities.sessions import SessionDesk
from devhost.servicebus.entities.settlement import count_delivery, expire
from devhost.servicebus.errors import NOT_ALLOWED, BusError

RETRY_MS = 1_000
"""When to try again what the store did not take."""
_SLACK = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRules:
    """What Config.json says of a queue or subscription. Times in milliseconds."""

    lock_ms: int = 60_000
    max_delivery_count: int | None = 10
    dead_letter_on_expiry: bool = False
    intake: IntakeRules = field(default_factory=IntakeRules)

    @property
    def requires_session(self) -> bool:
        """Whether messages are received by session."""
        return self.intake.requires_session


class Queue:
    """Messages, who waits for them, and who holds them."""

    def __init__(
        self,
        path: str,
        rules: QueueRules,
        *,
        journal: Journal,
        agenda: Agenda,
        dead_letters: Queue | None = None,
    ) -> None:
        self.path = path
        self.rules = rules
        self.journal = journal
        self.agenda = agenda
        self.dead_letters = dead_letters
        self.intake = Intake(path, rules.intake, journal=journal, agenda=agenda)
        self.schedule = Schedule()
        self.messages: dict[int, Held] = {}
        """Active and deferred messages by sequence number."""
        self.lanes: dict[str | None, Lane] = {}
        self.locked: dict[bytes, Held] = {}
        """Messages under a lock, by its tag."""
        self.sessions = SessionDesk(self)
        self._lock_ends = LockEnds()
        self._expiries: list[tuple[int, Held]] = []
        self._armed_ms: int | None = None

    def send(self, contents: Sequence[Content]) -> list[int]:
        """Take messages in, all or none; their numbers. Raises BusError.

        Nobody sees them before the journal has kept them.
        """
        for content in contents:
            self.intake.check(content)
        fresh, arriving, numbers = [], [], []
        for content in contents:
            if not self.intake.is_duplicate(content):
                fresh.append(content)
                arriving.append(self.intake.stamp(content))
                self.journal.write(Kept(self.path, arriving[-1]))
            numbers.append(self.intake.last_sequence)
        self.journal.after(
            lambda kept: self.take_in(arriving) if kept else self.intake.forget(fresh)
        )
        return numbers

    def send_copy(self, content: Content, *, origin: int, expires_ms: int | None) -> None:
        """Take in a topic's message, which has the number `origin` and this last moment there."""
        message = self.intake.stamp(content, origin=origin, expires_ms=expires_ms)
        self.journal.write(Kept(self.path, message))
        self.journal.after(lambda kept: self.take_in([message]) if kept else None)

    def take_in(self, messages: Iterable[Message]) -> None:
        """Messages that are kept already: show them to receivers."""
        lanes = {}
        for message in messages:
            if message.state is State.SCHEDULED:
                self.schedule.add(message)
                continue
            lane = self.lane(message.session_id)
            held = Held(message, lane)
            self.messages[message.sequence] = held
            lane.message_count += 1
            if message.expires_ms is not None:
                heapq.heappush(self._expiries, (message.expires_ms, held))
            if message.state is State.ACTIVE:
                lane.push(held)
                lanes[id(lane)] = lane
        for lane in lanes.values():
            self.serve(lane)
        self._arm()

    def lane(self, session_id: str | None) -> Lane:
        """Where messages of this session wait; all of a plain queue wait in one."""
        key = session_id if self.rules.requires_session else None
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = Lane(key)
        return lane

    def attach(self, receiver: Receiver) -> None:
        """A receiver without a session. Raises BusError on a queue with sessions."""
        if self.rules.requires_session:
            raise BusError(
                NOT_ALLOWED,
                f"The entity {self.path!r} requires sessions: accept one to receive from it.",
            )
        receiver.lane = self.lane(None)

    def detach(self, receiver: Receiver) -> None:
        """A receiver leaves. A session's lock ends with it, other locks stay until their time."""
        lane = receiver.lane
        if self.rules.requires_session:
            self.sessions.leave(receiver)
        elif lane is not None:
            lane.feed(receiver, 0)
        receiver.lane = None

    def want(self, receiver: Receiver, credit: int) -> None:
        """The receiver can take `credit` messages in all from now on."""
        if receiver.lane is None:  # a session is still to come
            receiver.credit = credit
            return
        receiver.lane.feed(receiver, credit)
        self.serve(receiver.lane)

    def serve(self, lane: Lane) -> None:
        """Hand out what waits in a lane to whoever waits there."""
        if self.rules.requires_session and lane.owner is None:
            self.sessions.offer(lane)
            return
        while lane.hungry:
            held = self.first_ready(lane)
            if held is None:
                return
            lane.pop()
            receiver = lane.next_receiver()
            if receiver.deletes:
                self._hand_over_for_good(held, receiver)
            else:
                lock = self.lock(held, receiver)
                receiver.deliver(held.message, held, lock)

    def first_ready(self, lane: Lane) -> Held | None:
        """The lane's next message that has not expired; expired ones are put away."""
        while (held := lane.first()) is not None:
            expires_ms = held.message.expires_ms
            if expires_ms is None or expires_ms > self.agenda.now_ms():
                return held
            expire(self, held)
        return None

    def lock(self, held: Held, receiver: Receiver | None) -> Lock:
        """Give the receiver (None: one who asked by number) a lock on a message."""
        if self.rules.requires_session:
            lock = Lock(os.urandom(16), held.lane.locked_until_ms, receiver)
        else:
            lock = Lock(os.urandom(16), self.agenda.now_ms() + self.rules.lock_ms, receiver)
            self.watch(held, lock)
        held.lock = lock
        self.locked[lock.tag] = held
        if receiver is not None and self.rules.requires_session:
            receiver.locks[lock.tag] = held
        return lock

    def renew(self, held: Held, lock: Lock) -> int:
        """The new end of a message's lock."""
        lock.until_ms = self.agenda.now_ms() + self.rules.lock_ms
        self.watch(held, lock)
        return lock.until_ms

    def unlock(self, held: Held) -> None:
        """Take the lock from a message, which stays where it is."""
        lock = held.lock
        if lock is not None:
            held.lock = None
            self.locked.pop(lock.tag, None)
            if lock.receiver is not None:
                lock.receiver.locks.pop(lock.tag, None)

    def put_back(self, held: Held) -> None:
        """An active message waits again, a deferred one stays aside, an expired one goes."""
        expires_ms = held.message.expires_ms
        if held.gone:
            return
        if expires_ms is not None and expires_ms <= self.agenda.now_ms():
            expire(self, held)
        elif held.message.state is State.ACTIVE:
            held.lane.push(held)
            self.serve(held.lane)

    def remove(self, held: Held) -> None:
        """The message is no longer in this queue; the journal knows already."""
        held.gone, held.ready = True, False
        self.unlock(held)
        if self.messages.pop(held.message.sequence, None) is not None:
            held.lane.message_count -= 1
        self.tidy(held.lane)

    def tidy(self, lane: Lane) -> None:
        """Forget a session of which nothing is left."""
        if lane.session_id is not None and lane.is_empty:
            self.lanes.pop(lane.session_id, None)

    def arm(self, due_ms: int) -> None:
        """Look after this queue at `due_ms` at the latest."""
        if self._armed_ms is None or due_ms < self._armed_ms:
            self._armed_ms = due_ms
            self.agenda.at(due_ms, self._tick)

    def cancel_scheduled(self, sequences: Sequence[int]) -> None:
        """Take scheduled messages back, all or none. Raises BusError."""
        cancel_scheduled(self.path, self.schedule, sequences, self.journal)

    def _hand_over_for_good(self, held: Held, receiver: Receiver) -> None:
        message = held.message
        self.journal.write(Gone(self.path, message.sequence))

        def deleted(kept: bool) -> None:
            if kept:
                self.remove(held)
                receiver.deliver(message, held, None)
            else:
                receiver.credit += 1
                held.lane.push(held)
                self.agenda.at(self.agenda.now_ms() + RETRY_MS, lambda: self._retry(receiver))

        self.journal.after(deleted)

    def _retry(self, receiver: Receiver) -> None:
        if receiver.lane is not None:
            self.want(receiver, receiver.credit)

    def watch(self, held: Held, lock: Lock) -> None:
        """Look after a lock's end."""
        self._lock_ends.add(held, lock)
        self.arm(lock.until_ms)

    def _tick(self) -> None:
        self._armed_ms = None
        now_ms = self.agenda.now_ms()
        self._activate(now_ms)
        for held in self._lock_ends.take_due(now_ms):
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
            self.journal.write(Gone(self.path, message.sequence))
            self.journal.write(Kept(self.path, active[-1]))
        later = [replace(message, due_ms=now_ms + RETRY_MS) for message in waiting]
        self.journal.after(lambda kept: self.take_in(active if kept else later))

    def _arm(self) -> None:
        if len(self._expiries) > 2 * len(self.messages) + _SLACK:
            self._expiries = [entry for entry in self._expiries if not entry[1].gone]
            heapq.heapify(self._expiries)
        dues = (
            self.schedule.next_due_ms,
            self._lock_ends.next_ms,
            self._expiries[0][0] if self._expiries else None,
            self.sessions.next_end_ms,
        )
        due_ms = min((due for due in dues if due is not None), default=None)
        if due_ms is not None:
            self.arm(due_ms)
