"""Holds messages that wait in a queue, their locks, and the receivers that want them. Entry point:
`Backlog`.

A plain queue has one backlog; a queue with sessions has one for each session, which also holds the
session's lock and state.
"""

from __future__ import annotations

import heapq
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from devhost.servicebus.entities.message import Message


@dataclass(slots=True, eq=False)
class Backlog:
    """Messages in order of their sequence numbers, and the receivers that want one."""

    session_id: str | None
    hungry: deque[Receiver] = field(default_factory=deque)
    owner: Receiver | None = None
    locked_until_ms: int = 0
    state: bytes | None = None
    state_set_ms: int = 0
    message_count: int = 0
    """Messages of the session in any state."""
    _ready: list[tuple[int, Held]] = field(default_factory=list)

    def push(self, held: Held) -> None:
        """Put a message where its sequence number belongs."""
        held.ready = True
        heapq.heappush(self._ready, (held.message.sequence, held))

    def first(self) -> Held | None:
        """Return the next message without taking it."""
        while self._ready:
            held = self._ready[0][1]
            if held.ready:
                return held
            heapq.heappop(self._ready)
        return None

    def pop(self) -> Held:
        """Take the message that `first` returned."""
        held = heapq.heappop(self._ready)[1]
        held.ready = False
        return held

    def feed(self, receiver: Receiver, credit: int) -> None:
        """Set how many messages a receiver wants from now on."""
        receiver.credit = credit
        if credit and receiver not in self.hungry:
            self.hungry.append(receiver)
        elif not credit and receiver in self.hungry:
            self.hungry.remove(receiver)

    def take_receiver(self) -> Receiver:
        """The receiver of the next message. One that has credit left goes to the end."""
        receiver = self.hungry.popleft()
        receiver.credit -= 1
        if receiver.credit:
            self.hungry.append(receiver)
        return receiver

    @property
    def is_empty(self) -> bool:
        """Whether the session has no messages, receivers or state."""
        return not (self.message_count or self.owner or self.hungry or self.state is not None)


@dataclass(slots=True, eq=False, kw_only=True)
class Receiver:
    """A receiver of a queue. The callbacks must return at once and not call the queue.

    `deliver(message, held, lock)`: a message; without a lock it is gone from the queue already.
    `session_granted()`: `backlog` is the session it asked for. `session_lost()`: its lock ended.
    """

    name: str
    deletes: bool
    """Receive-and-delete instead of peek-lock."""
    deliver: Callable[[Message, Held, Lock | None], None]
    session_granted: Callable[[], None] = lambda: None
    session_lost: Callable[[], None] = lambda: None
    credit: int = 0
    backlog: Backlog | None = None
    waits: bool = False
    """It waits for the next available session."""
    locks: dict[bytes, Held] = field(default_factory=dict)
    """The messages that it has locked, by tag; for sessions only, whose lock they share."""


@dataclass(slots=True, eq=False)
class Lock:
    """A receiver's right to one message, until a time; `tag` is also the delivery tag."""

    tag: bytes
    until_ms: int
    receiver: Receiver | None
    settling: bool = False
    """A settlement is being stored."""

    @property
    def token(self) -> uuid.UUID:
        """The lock token: the tag, read in .NET's byte order."""
        return uuid.UUID(bytes_le=self.tag)


@dataclass(slots=True, eq=False)
class Held:
    """A message's place in a queue."""

    message: Message
    backlog: Backlog
    lock: Lock | None = field(default=None)
    ready: bool = False
    """It is in its backlog and waits for a receiver."""
    gone: bool = False

    def __lt__(self, other: Held) -> bool:
        return self.message.sequence < other.message.sequence
