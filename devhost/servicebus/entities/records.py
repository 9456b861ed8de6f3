"""What must survive the process, and when may others hear of it?

Entities write records of what they change and do nothing visible until `after` calls back.
Locks are not among the records: they end with the process.
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
class CounterMoved:
    """The last sequence number that an entity has given."""

    entity: str
    last: int


@dataclass(frozen=True, slots=True)
class IdSeen:
    """A message id, to be dropped when it comes again before `until_ms`."""

    entity: str
    message_id: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class SessionStateSet:
    """A session's state; None when it was taken away."""

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
    MessageStored | MessageRemoved | CounterMoved | IdSeen | SessionStateSet | RulesChanged
)


class Journal(Protocol):
    """Where entities write what they change."""

    def write(self, record: Record) -> None:
        """Keep a record with this turn's others: all of them or none."""
        ...

    def after(self, then: Callable[[bool], None]) -> None:
        """Call `then` when this turn's records are kept (True) or could not be (False)."""
        ...
