"""Keeps Service Bus queues and topics in memory. Entry point: `MemoryBroker`.

It has peek-lock with delivery counts, sessions with one message at a time, scheduled messages, time
to live, dead letters after MaxDeliveryCount, and duplicate detection. Of the subscriptions it has
`wake`, with the filter of infra/servicebus.json. Every method is synchronous and reads the given
clock; nothing happens by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any, TypeAlias

from aos.adapters.memory.entities import RULES, EntityRules, Kept, Session
from aos.domain.bus_limits import fit_properties, is_bus_id
from aos.domain.envelope import AGENT_EVENTS, WAKE_SUBSCRIPTION
from aos.errors import TransientError
from aos.ports.system import Clock

Watcher: TypeAlias = Callable[[str, Kept], None]
"""Called with `send`, `complete`, `abandon`, `dead_letter`, `expire` or `drop` (a duplicate)."""


@dataclass(slots=True)
class _Entity:
    rules: EntityRules
    messages: dict[int, Kept] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    dead: list[Kept] = field(default_factory=list)
    recent: dict[str, datetime] = field(default_factory=dict)
    numbers: count[int] = field(default_factory=lambda: count(1))


class MemoryBroker:
    """A Service Bus namespace in memory."""

    def __init__(self, *, clock: Clock, rules: Mapping[str, EntityRules] = RULES) -> None:
        self._clock = clock
        self._entities = {name: _Entity(rules=rule) for name, rule in rules.items()}
        self._locks = count(1)
        self.jobs: list[bytes] = []
        self.poison_jobs: list[Kept] = []
        self.watchers: list[Watcher] = []

    def send(
        self,
        entity: str,
        body: bytes,
        *,
        message_id: str | None,
        scheduled_at: datetime | None = None,
        ttl_seconds: float | None = None,
        **annotations: object,
    ) -> Kept | None:
        """Add a message; return None if duplicate detection dropped it.

        `annotations` are the other broker properties of a message (`session_id`, `correlation_id`,
        `properties` …). Raises ValueError if a queue with sessions gets no session id, and for ids
        and properties that Service Bus refuses.
        """
        queue, now = self._find_entity(entity), self._clock.now()
        _check_limits({"message_id": message_id, **annotations})
        if queue.rules.sessions and not annotations.get("session_id"):
            raise ValueError(f"{entity!r} requires a session id")
        visible_at = max(now, scheduled_at or now)
        ttl = min(ttl_seconds or queue.rules.ttl_seconds, queue.rules.ttl_seconds)
        kept = Kept(
            entity=entity,
            sequence_number=next(queue.numbers),
            body=body,
            message_id=message_id,
            enqueued_at=now,
            visible_at=visible_at,
            expires_at=visible_at + timedelta(seconds=ttl),
            **annotations,  # type: ignore[arg-type]
        )
        if self._is_duplicate(queue, kept, now):
            self._tell("drop", kept)
            return None
        queue.messages[kept.sequence_number] = kept
        self._tell("send", kept)
        if entity == AGENT_EVENTS and "aos_app" not in kept.properties:
            more: dict[str, Any] = annotations
            self.send(WAKE_SUBSCRIPTION, body, message_id=message_id, ttl_seconds=ttl, **more)
        return kept

    def receive(self, entity: str) -> Kept | None:
        """Lock the next message of an entity without sessions."""
        queue = self._find_entity(entity)
        kept = self._find_next(queue, session_id=None)
        return None if kept is None else self._lock(queue, kept, None)

    def accept_session(self, entity: str) -> Session | None:
        """Lock the next session that has a message to deliver."""
        queue, now = self._find_entity(entity), self._clock.now()
        for kept in list(queue.messages.values()):
            held = queue.sessions.get(kept.session_id or "")
            if held is not None and held.locked_until > now:
                continue
            if self._find_next(queue, session_id=kept.session_id) is None:
                continue
            assert kept.session_id is not None
            self._take_back(queue, kept.session_id)
            session = Session(
                entity,
                kept.session_id,
                next(self._locks),
                now + timedelta(seconds=queue.rules.lock_seconds),
            )
            queue.sessions[kept.session_id] = session
            return session
        return None

    def receive_in(self, session: Session) -> Kept | None:
        """Lock the next message of a held session. Raises TransientError if the session is lost."""
        queue = self._find_entity(session.entity)
        self._check_session(queue, session)
        kept = self._find_next(queue, session_id=session.session_id)
        return None if kept is None else self._lock(queue, kept, session)

    def release(self, session: Session) -> None:
        """Give a session back. Does nothing if it is lost. Delivery counts do not rise."""
        queue = self._find_entity(session.entity)
        if queue.sessions.get(session.session_id) is not session:
            return
        del queue.sessions[session.session_id]
        for kept in queue.messages.values():
            if kept.session_id == session.session_id and kept.lock == session.lock:
                kept.lock, kept.locked_until = None, None
                kept.deliveries -= 1

    def renew(self, held: Kept | Session, *, until: datetime | None = None) -> None:
        """Renew the lock for its duration, or until `until`. Raises TransientError if it is
        lost."""
        queue = self._find_entity(held.entity)
        until = until or self._clock.now() + timedelta(seconds=queue.rules.lock_seconds)
        if isinstance(held, Session):
            self._check_session(queue, held)
            for kept in queue.messages.values():
                if kept.lock == held.lock:
                    kept.locked_until = until
        else:
            self._check_lock(queue, held, held.lock)
        held.locked_until = until

    def complete(self, kept: Kept, lock: int) -> None:
        """Complete a message. Raises TransientError if its lock is lost."""
        queue = self._find_entity(kept.entity)
        self._check_lock(queue, kept, lock)
        del queue.messages[kept.sequence_number]
        self._tell("complete", kept)

    def abandon(self, kept: Kept, lock: int) -> None:
        """Deliver a message again at once; after MaxDeliveryCount deliveries, dead-letter it."""
        queue = self._find_entity(kept.entity)
        self._check_lock(queue, kept, lock)
        self._give_back(queue, kept)
        self._tell("abandon", kept)

    def dead_letter(self, kept: Kept, lock: int, *, reason: str) -> None:
        """Dead-letter a message, with a reason."""
        queue = self._find_entity(kept.entity)
        self._check_lock(queue, kept, lock)
        self._move_to_dead_letters(queue, kept, reason)

    def give_up(self, kept: Kept, *, reason: str) -> None:
        """Dead-letter a message that nobody holds."""
        self._move_to_dead_letters(self._find_entity(kept.entity), kept, reason)

    def dead_letters(self, entity: str) -> list[Kept]:
        """List the dead letters. What has expired is one, unless it is locked."""
        queue, now = self._find_entity(entity), self._clock.now()
        for kept in list(queue.messages.values()):
            is_locked = kept.locked_until is not None and kept.locked_until > now
            if kept.expires_at <= now and not is_locked:
                self._expire(queue, kept)
        return list(queue.dead)

    def remove_dead_letter(self, kept: Kept) -> None:
        """Remove a dead letter or a poison message."""
        dead = self._entities[kept.entity].dead if kept.entity in self._entities else []
        (dead if kept in dead else self.poison_jobs).remove(kept)
        self._tell("remove_dead_letter", kept)

    def messages(self, entity: str) -> list[Kept]:
        """List all messages that are not settled: active, locked and scheduled, in order."""
        return list(self._find_entity(entity).messages.values())

    def next_due(self, entity: str) -> datetime | None:
        """Return when something may become receivable: a scheduled message, an expired lock."""
        queue, now = self._find_entity(entity), self._clock.now()
        moments = [m for kept in queue.messages.values() for m in (kept.visible_at,) if m > now]
        moments += [k.locked_until for k in queue.messages.values() if k.locked_until is not None]
        moments += [session.locked_until for session in queue.sessions.values()]
        return min((moment for moment in moments if moment > now), default=None)

    def _find_entity(self, name: str) -> _Entity:
        try:
            return self._entities[name]
        except KeyError as error:
            known = ", ".join(sorted(self._entities))
            raise ValueError(f"the entity {name!r} does not exist; known: {known}") from error

    def _find_next(self, queue: _Entity, *, session_id: str | None) -> Kept | None:
        now = self._clock.now()
        for kept in list(queue.messages.values()):
            if session_id is not None and kept.session_id != session_id:
                continue
            if kept.visible_at > now or (kept.locked_until is not None and kept.locked_until > now):
                continue
            if kept.lock is not None:
                self._give_back(queue, kept)
                if kept.sequence_number not in queue.messages:
                    continue
            if kept.expires_at <= now:
                self._expire(queue, kept)
                continue
            return kept
        return None

    def _lock(self, queue: _Entity, kept: Kept, session: Session | None) -> Kept:
        now = self._clock.now()
        kept.deliveries += 1
        kept.lock = next(self._locks) if session is None else session.lock
        kept.locked_until = (
            now + timedelta(seconds=queue.rules.lock_seconds)
            if session is None
            else session.locked_until
        )
        return kept

    def _take_back(self, queue: _Entity, session_id: str) -> None:
        """Deliver again what a session with an expired lock had locked."""
        for kept in list(queue.messages.values()):
            if kept.session_id == session_id and kept.lock is not None:
                self._give_back(queue, kept)

    def _give_back(self, queue: _Entity, kept: Kept) -> None:
        kept.lock, kept.locked_until = None, None
        if kept.deliveries >= queue.rules.max_delivery_count:
            self._move_to_dead_letters(queue, kept, "MaxDeliveryCountExceeded")

    def _expire(self, queue: _Entity, kept: Kept) -> None:
        if queue.rules.dead_letter_on_expiry:
            self._move_to_dead_letters(queue, kept, "TTLExpiredException")
        else:
            del queue.messages[kept.sequence_number]
            self._tell("expire", kept)

    def _move_to_dead_letters(self, queue: _Entity, kept: Kept, reason: str) -> None:
        kept.lock, kept.locked_until, kept.reason = None, None, reason
        del queue.messages[kept.sequence_number]
        queue.dead.append(kept)
        self._tell("dead_letter", kept)

    def _check_lock(self, queue: _Entity, kept: Kept, lock: int | None) -> None:
        held = queue.messages.get(kept.sequence_number) is kept and kept.lock == lock
        if not held or kept.locked_until is None or kept.locked_until <= self._clock.now():
            raise TransientError(f"the lock of message {kept.message_id!r} is lost")

    def _check_session(self, queue: _Entity, session: Session) -> None:
        held = queue.sessions.get(session.session_id) is session
        if not held or session.locked_until <= self._clock.now():
            raise TransientError(f"the lock of session {session.session_id!r} is lost")

    def _is_duplicate(self, queue: _Entity, kept: Kept, now: datetime) -> bool:
        window = timedelta(seconds=queue.rules.duplicate_seconds)
        if not window or kept.message_id is None:
            return False
        first = queue.recent.get(kept.message_id)
        if first is not None and now - first < window:
            return True
        queue.recent[kept.message_id] = now
        return False

    def _tell(self, what: str, kept: Kept) -> None:
        for watcher in self.watchers:
            watcher(what, kept)


def _check_limits(given: Mapping[str, object]) -> None:
    for name in ("message_id", "correlation_id", "session_id", "reply_to_session_id"):
        text = given.get(name)
        if isinstance(text, str) and text and not is_bus_id(text):
            raise ValueError(f"Service Bus refuses {name}: it has {len(text)} characters")
    properties = given.get("properties")
    if isinstance(properties, Mapping) and fit_properties(properties) is not properties:
        raise ValueError("Service Bus refuses the properties: they are too large together")
