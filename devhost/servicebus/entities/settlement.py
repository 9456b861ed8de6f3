"""Settles messages: completes, abandons, defers, dead-letters, releases. Entry point: `settle`.

Also counts a delivery when a lock ends, and removes messages whose time to live is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from devhost.servicebus.entities.backlog import Backlog, Held, Lock
from devhost.servicebus.entities.message import Message, State
from devhost.servicebus.entities.queue_state import QueueState
from devhost.servicebus.entities.records import MessageRemoved, MessageStored, MessageUnlocked
from devhost.servicebus.errors import MESSAGE_LOCK_LOST, NOT_ALLOWED, SESSION_LOCK_LOST, BusError

REASON, DESCRIPTION = "DeadLetterReason", "DeadLetterErrorDescription"
EXPIRED = {
    REASON: "TTLExpiredException",
    DESCRIPTION: "The message expired and was dead lettered.",
}


@dataclass(frozen=True, slots=True)
class Completed:
    """Processed: the message is removed."""


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Not processed: the message goes back and one delivery is counted."""

    properties: Mapping[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deferred:
    """Set aside: the message is received again by its number only."""

    properties: Mapping[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """Moved to the dead-letter queue; `properties` hold the reason."""

    properties: Mapping[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Released:
    """Returned unchanged: no delivery is counted."""


Outcome: TypeAlias = Completed | Abandoned | Deferred | DeadLettered | Released


@dataclass(frozen=True, slots=True)
class _Change:
    """A message after its settlement: removed (None), changed here, or a dead letter."""

    message: Message | None
    dead: bool = False


def settle(queue: QueueState, held: Held, lock: Lock, outcome: Outcome) -> None:
    """Settle a message; it counts when it is stored. Raises BusError if the lock is lost."""
    check_lock(queue, held, lock)
    if isinstance(outcome, Released):
        release(queue, held)
        return
    change = _plan_change(queue, held.message, outcome)
    lock.settling = True
    _write(queue, held.message, change)

    def on_stored(stored: bool) -> None:
        lock.settling = False
        if stored and held.lock is lock:
            _apply(queue, held, change)
        elif held.lock is lock and not queue.rules.requires_session:
            queue.watch(held, lock)

    queue.journal.after(on_stored)


def release(queue: QueueState, held: Held) -> None:
    """Let a locked message wait again; no delivery is counted."""
    queue.unlock(held)
    if not held.gone:
        queue.journal.write(MessageUnlocked(queue.path, held.message.sequence))
    put_back(queue, held)


def check_lock(queue: QueueState, held: Held, lock: Lock) -> None:
    """Raise BusError unless the lock is still valid."""
    if held.lock is lock and not lock.settling:
        if queue.rules.requires_session:
            if held.backlog.owner is not None and held.backlog.owner is lock.receiver:
                return
        elif lock.until_ms > queue.agenda.now_ms():
            return
    if queue.rules.requires_session:
        raise BusError(
            SESSION_LOCK_LOST, "The session lock has expired or was released: accept it again."
        )
    raise BusError(
        MESSAGE_LOCK_LOST,
        "The lock supplied is invalid: it expired, or the message was removed from the queue.",
    )


def count_delivery(queue: QueueState, held: Held) -> None:
    """Count a delivery because the lock has expired; the message waits again."""
    queue.unlock(held)
    change = _plan_return(queue, held.message, {})
    _write(queue, held.message, change)

    def on_stored(stored: bool) -> None:
        if held.gone:
            return
        if stored or not change.dead:
            _apply(queue, held, change)
        else:
            put_back(queue, held)

    queue.journal.after(on_stored)


def expire(queue: QueueState, held: Held) -> None:
    """Remove or dead-letter a message whose time to live is over."""
    held.ready = False
    dead = queue.rules.dead_letter_on_expiry and queue.dead_letters is not None
    change = _Change(_make_dead_letter(held.message, EXPIRED), dead=True) if dead else _Change(None)
    _write(queue, held.message, change)

    def on_stored(stored: bool) -> None:
        if stored and not held.gone:
            _apply(queue, held, change)
        elif not held.gone and held.message.state is State.ACTIVE:
            held.backlog.push(held)

    queue.journal.after(on_stored)


def put_back(queue: QueueState, held: Held) -> None:
    """Let a message wait again; a deferred one stays aside, an expired one is removed."""
    expires_ms = held.message.expires_ms
    if held.gone:
        return
    if expires_ms is not None and expires_ms <= queue.agenda.now_ms():
        expire(queue, held)
    elif held.message.state is State.ACTIVE:
        held.backlog.push(held)
        queue.serve(held.backlog)


def find_ready(queue: QueueState, backlog: Backlog) -> Held | None:
    """The next message of a backlog that has not expired; expired ones are removed."""
    while (held := backlog.first()) is not None:
        expires_ms = held.message.expires_ms
        if expires_ms is None or expires_ms > queue.agenda.now_ms():
            return held
        expire(queue, held)
    return None


def _plan_change(queue: QueueState, message: Message, outcome: Outcome) -> _Change:
    match outcome:
        case Abandoned(properties):
            return _plan_return(queue, message, properties)
        case Deferred(properties):
            content = message.content.with_properties(dict(properties))
            count = message.delivery_count + 1
            return _Change(
                replace(message, content=content, delivery_count=count, state=State.DEFERRED)
            )
        case DeadLettered(properties):
            if queue.dead_letters is None:
                raise BusError(NOT_ALLOWED, "A dead letter cannot be dead-lettered again.")
            return _Change(_make_dead_letter(message, properties), dead=True)
        case _:
            return _Change(None)


def _plan_return(queue: QueueState, message: Message, properties: Mapping[Any, Any]) -> _Change:
    count = message.delivery_count + 1
    content = message.content.with_properties(dict(properties))
    message = replace(message, content=content, delivery_count=count)
    limit = queue.rules.max_delivery_count
    if limit is None or count < limit or queue.dead_letters is None:
        return _Change(message)
    reason = {
        REASON: "MaxDeliveryCountExceeded",
        DESCRIPTION: f"Message could not be consumed after {count} delivery attempts.",
    }
    return _Change(_make_dead_letter(message, reason), dead=True)


def _make_dead_letter(message: Message, properties: Mapping[Any, Any]) -> Message:
    content = message.content.with_properties(dict(properties))
    return replace(message, content=content, state=State.ACTIVE, expires_ms=None)


def _write(queue: QueueState, message: Message, change: _Change) -> None:
    if change.message is None or change.dead:
        queue.journal.write(MessageRemoved(queue.path, message.sequence))
    if change.message is not None:
        place = queue.dead_letters if change.dead and queue.dead_letters else queue
        queue.journal.write(MessageStored(place.path, change.message))


def _apply(queue: QueueState, held: Held, change: _Change) -> None:
    if change.message is None:
        queue.remove(held)
    elif change.dead and queue.dead_letters is not None:
        queue.remove(held)
        queue.dead_letters.take_in([change.message])
    else:
        queue.unlock(held)
        held.message = change.message
        put_back(queue, held)
