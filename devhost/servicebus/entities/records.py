"""Defines the records of changes, and the journal that takes them. Entry point: `Journal`.

Entities write records of their changes, which become visible when `after` calls back. Locks end
with the process; the record of one lets the next process count the delivery.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from devhost.servicebus.entities.message import Message


@dataclass(frozen=True, slots=True)
class MessageStored:
    """A message is new in an entity, or has changed there."""

    entity: str
    message: Message


@dataclass(frozen=True, slots=True)
class MessageRemoved:
    """A message has left an entity."""

    entity: str
    sequence: int


@dataclass(frozen=True, slots=True)
class MessageLocked:
    """A message was handed to a receiver, until it is removed, unlocked, or stored with a new
    delivery count or state."""

    entity: str
    sequence: int


@dataclass(frozen=True, slots=True)
class MessageUnlocked:
    """A message waits again, and no delivery is counted."""

    entity: str
    sequence: int


@dataclass(frozen=True, slots=True)
class CounterMoved:
    """The last sequence number of an entity."""

    entity: str
    last: int


@dataclass(frozen=True, slots=True)
class IdSeen:
    """A message id; a message that repeats it before `until_ms` is dropped."""

    entity: str
    message_id: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class SessionStateSet:
    """A session's state; None when it was removed."""

    entity: str
    session_id: str
    state: bytes | None
    set_ms: int


@dataclass(frozen=True, slots=True)
class RulesChanged:
    """All rules of a subscription, encoded, and the digest of those in its configuration."""

    entity: str
    configured: str
    rules: bytes


Record: TypeAlias = (
    MessageStored
    | MessageRemoved
    | MessageLocked
    | MessageUnlocked
    | CounterMoved
    | IdSeen
    | SessionStateSet
    | RulesChanged
)


class Journal(Protocol):
    """Where entities write what they change."""

    def write(self, record: Record) -> None:
        """Store a record together with the others of this pass of the loop: all or none."""
        ...

    def after(self, then: Callable[[bool], None]) -> None:
        """Call `then` when the records so far are stored (True) or could not be stored (False)."""
        ...
