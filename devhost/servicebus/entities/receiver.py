"""Who takes messages from a queue?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from devhost.servicebus.entities.message import Held, Lock, Message

if TYPE_CHECKING:
    from devhost.servicebus.entities.lane import Lane


@dataclass(slots=True, eq=False, kw_only=True)
class Receiver:
    """One receiving end. The callbacks must return at once and not call the queue.

    `deliver(message, held, lock)`: a message; without a lock it is gone from the queue already.
    `session_granted()`: `lane` is the session it asked for. `session_lost()`: its lock ended.
    """

    name: str
    deletes: bool
    """Receive-and-delete instead of peek-lock."""
    deliver: Callable[[Message, Held, Lock | None], None]
    session_granted: Callable[[], None] = lambda: None
    session_lost: Callable[[], None] = lambda: None
    credit: int = 0
    lane: Lane | None = None
    waits: bool = False
    """It waits for the next available session."""
    locks: dict[bytes, Held] = field(default_factory=dict)
    """What it holds, by tag; only kept for sessions, whose lock all of these share."""
