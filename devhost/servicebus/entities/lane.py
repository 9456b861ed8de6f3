"""In which order do messages wait, and for whom?

A plain queue has one lane; a queue with sessions has one a session, which also holds the
session's lock and state.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

from devhost.servicebus.entities.message import Held
from devhost.servicebus.entities.receiver import Receiver


@dataclass(slots=True, eq=False)
class Lane:
    """Messages in order of their sequence numbers, and the receivers that want one."""

    session_id: str | None
    hungry: deque[Receiver] = field(default_factory=deque)
    owner: Receiver | None = None
    locked_until_ms: int = 0
    state: bytes | None = None
    state_set_ms: int = 0
    message_count: int = 0
    """Messages of the session in whatever state."""
    _ready: list[tuple[int, Held]] = field(default_factory=list)

    def push(self, held: Held) -> None:
        """Put a message where its sequence number belongs."""
        held.ready = True
        heapq.heappush(self._ready, (held.message.sequence, held))

    def first(self) -> Held | None:
        """The message that is next, left where it is."""
        while self._ready:
            held = self._ready[0][1]
            if held.ready:
                return held
            heapq.heappop(self._ready)
        return None

    def pop(self) -> Held:
        """Take the message that `first` has shown."""
        held = heapq.heappop(self._ready)[1]
        held.ready = False
        return held

    def feed(self, receiver: Receiver, credit: int) -> None:
        """A receiver wants `credit` messages in all from now on."""
        receiver.credit = credit
        if credit and receiver not in self.hungry:
            self.hungry.append(receiver)
        elif not credit and receiver in self.hungry:
            self.hungry.remove(receiver)

    def next_receiver(self) -> Receiver:
        """Whose turn it is, its credit one less; those with credit left take turns."""
        receiver = self.hungry.popleft()
        receiver.credit -= 1
        if receiver.credit:
            self.hungry.append(receiver)
        return receiver

    @property
    def is_empty(self) -> bool:
        """Nothing is known of this session that would be lost with it."""
        return not (self.message_count or self.owner or self.hungry or self.state is not None)
