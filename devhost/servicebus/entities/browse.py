"""Reads and takes messages without waiting. Entry points: `peek`, `receive_deferred`.

It also settles messages and renews their locks by lock token. The node `$management` calls these
functions.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import TypeAlias

from devhost.servicebus.entities.backlog import Held, Lock
from devhost.servicebus.entities.message import Message, State
from devhost.servicebus.entities.queue import Queue
from devhost.servicebus.entities.records import MessageRemoved
from devhost.servicebus.entities.settlement import Outcome, check_lock, settle
from devhost.servicebus.entities.topic import Topic
from devhost.servicebus.errors import (
    ARGUMENT_ERROR,
    MESSAGE_LOCK_LOST,
    MESSAGE_NOT_FOUND,
    NOT_ALLOWED,
    BusError,
)

MAX_PEEKED = 1_000
MAX_PEEKED_BYTES = 16 * 1024 * 1024
Entity: TypeAlias = Queue | Topic


def peek(
    entity: Entity, *, from_sequence: int, limit: int, session_id: str | None
) -> list[tuple[Message, Lock | None]]:
    """Messages in any state, by number, with their locks; bounded in number and bytes."""
    if limit < 1:
        raise BusError(ARGUMENT_ERROR, "message-count must be at least 1.")
    candidates = {n: (m, None) for n, m in entity.schedule.messages.items()}
    held = {n: (h.message, h.lock) for n, h in entity.messages.items()}
    found: dict[int, tuple[Message, Lock | None]] = {**candidates, **held}
    numbers = heapq.nsmallest(
        min(limit, MAX_PEEKED),
        (
            number
            for number, (message, _) in found.items()
            if number >= from_sequence and session_id in (None, message.session_id)
        ),
    )
    chosen: list[tuple[Message, Lock | None]] = []
    size = 0
    for number in numbers:
        size += len(found[number][0].content.rest)
        if chosen and size > MAX_PEEKED_BYTES:
            break
        chosen.append(found[number])
    return chosen


def receive_deferred(
    queue: Queue,
    sequences: Sequence[int],
    *,
    delete: bool,
    session_id: str | None,
    receiver_name: str | None,
) -> list[tuple[Message, Lock | None]]:
    """Lock or take out deferred messages by number, all or none. Raises BusError."""
    owner = None
    if queue.rules.requires_session:
        if session_id is None:
            raise BusError(NOT_ALLOWED, f"The entity {queue.path!r} requires a session id.")
        owner = queue.sessions.find_owned(session_id, receiver_name).owner
    chosen = [_find_deferred(queue, number, session_id) for number in dict.fromkeys(sequences)]
    if not delete:
        return [(held.message, queue.lock(held, owner)) for held in chosen]
    for held in chosen:
        queue.journal.write(MessageRemoved(queue.path, held.message.sequence))

    def deleted(stored: bool) -> None:
        for held in chosen if stored else ():
            queue.remove(held)

    queue.journal.after(deleted)
    return [(held.message, None) for held in chosen]


def _find_deferred(queue: Queue, sequence: int, session_id: str | None) -> Held:
    held = queue.messages.get(sequence)
    if (
        held is None
        or held.message.state is not State.DEFERRED
        or held.lock is not None
        or (queue.rules.requires_session and held.message.session_id != session_id)
    ):
        raise BusError(
            MESSAGE_NOT_FOUND, f"No deferred message has the sequence number {sequence}."
        )
    return held


def settle_by_token(queue: Queue, tags: Sequence[bytes], outcome: Outcome) -> None:
    """Settle the messages whose locks have these tags, all or none. Raises BusError."""
    for held, lock in [_find_locked(queue, tag) for tag in tags]:
        settle(queue, held, lock, outcome)


def renew_locks(queue: Queue, tags: Sequence[bytes]) -> list[int]:
    """Renew the locks of messages, all or none. Returns the new ends. Raises BusError."""
    if queue.rules.requires_session:
        raise BusError(NOT_ALLOWED, "Messages of a session have the session's lock: renew that.")
    return [queue.renew(held, lock) for held, lock in [_find_locked(queue, tag) for tag in tags]]


def _find_locked(queue: Queue, tag: bytes) -> tuple[Held, Lock]:
    held = queue.locked.get(tag)
    if held is None or held.lock is None:
        raise BusError(
            MESSAGE_LOCK_LOST,
            "The lock supplied is invalid: it expired, or the message was removed from the queue.",
        )
    check_lock(queue, held, held.lock)
    return held, held.lock
