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
from devhost.servicebus.entities.records import MessageRemoved, MessageStored
from devhost.servicebus.errors import MESSAGE_LOCK_LOST, NOT_ALLOWED, SESSION_LOCK_LOST, BusError

REASON, DESCRIPTION = "DeadLetterReason", "DeadLetterErrorDescription"
EXPIRED = {
    REASON: "TTLExpiredException",
    DESCRIPTION: "The message expired and was dead lettered.",
}


@dataclass(frozen=True, slots=True)
class Completed:
    """Done: the message goes away."""


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Not done: back into the queue, one delivery counted."""

    properties: Mapping[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deferred:
    """Put aside: only who knows its number receives it again."""

    properties: Mapping[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """Given up; `properties` hold the reason."""

    properties: Mapping[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Released:
    """Not looked at: back into the queue as it was."""


Outcome: TypeAlias = Completed | Abandoned | Deferred | DeadLettered | Released


@dataclass(frozen=True, slots=True)
class _Change:
    """What is left: nothing, the changed message here, or in the dead-letter queue."""

    message: Message | None
    dead: bool = False


def settle(queue: QueueState, held: Held, lock: Lock, outcome: Outcome) -> None:
    """Settle a message, with effect when it is stored. Raises BusError: the lock is lost."""
    check_lock(queue, held, lock)
    if isinstance(outcome, Released):
        queue.unlock(held)
        put_back(queue, held)
        return
    change = _change(queue, held.message, outcome)
    lock.settling = True
    _write(queue, held.message, change)

    def on_stored(stored: bool) -> None:
        lock.settling = False
        if stored and held.lock is lock:
            _apply(queue, held, change)
        elif held.lock is lock and not queue.rules.requires_session:
            queue.watch(held, lock)

    queue.journal.after(on_stored)


def check_lock(queue: QueueState, held: Held, lock: Lock) -> None:
    """Raise BusError unless the lock still holds."""
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
    """A lock ended by itself: one more delivery, and the message waits again."""
    queue.unlock(held)
    change = _back(queue, held.message, {})
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
    """A message's time to live is over."""
    held.ready = False
    dead = queue.rules.dead_letter_on_expiry and queue.dead_letters is not None
    change = _Change(_dead(held.message, EXPIRED), dead=True) if dead else _Change(None)
    _write(queue, held.message, change)

    def on_stored(stored: bool) -> None:
        if stored and not held.gone:
            _apply(queue, held, change)
        elif not held.gone and held.message.state is State.ACTIVE:
            held.backlog.push(held)

    queue.journal.after(on_stored)


def put_back(queue: QueueState, held: Held) -> None:
    """An active message waits again, a deferred one stays aside, an expired one goes."""
    expires_ms = held.message.expires_ms
    if held.gone:
        return
    if expires_ms is not None and expires_ms <= queue.agenda.now_ms():
        expire(queue, held)
    elif held.message.state is State.ACTIVE:
        held.backlog.push(held)
        queue.serve(held.backlog)


def first_ready(queue: QueueState, backlog: Backlog) -> Held | None:
    """The backlog's next message that has not expired; expired ones are put away."""
    while (held := backlog.first()) is not None:
        expires_ms = held.message.expires_ms
        if expires_ms is None or expires_ms > queue.agenda.now_ms():
            return held
        expire(queue, held)
    return None


def _change(queue: QueueState, message: Message, outcome: Outcome) -> _Change:
    match outcome:
        case Abandoned(properties):
            return _back(queue, message, properties)
        case Deferred(properties):
            content = message.content.with_properties(dict(properties))
            count = message.delivery_count + 1
            return _Change(
                replace(message, content=content, delivery_count=count, state=State.DEFERRED)
            )
        case DeadLettered(properties):
            if queue.dead_letters is None:
                raise BusError(NOT_ALLOWED, "A dead letter cannot be dead-lettered again.")
            return _Change(_dead(message, properties), dead=True)
        case _:
            return _Change(None)


def _back(queue: QueueState, message: Message, properties: Mapping[Any, Any]) -> _Change:
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
    return _Change(_dead(message, reason), dead=True)


def _dead(message: Message, properties: Mapping[Any, Any]) -> Message:
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
