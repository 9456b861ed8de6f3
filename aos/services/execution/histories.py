"""Reads the histories that models are shown, from memory where this process wrote them. Entry
points: `Histories.read`, `Histories.follow`.

Messages are only written together with their head, so the head's ETag says whether what is
remembered is still the history. What it does not say is read from the store.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from aos.domain.json_writer import write_json
from aos.domain.runs.conversation import Message, Step
from aos.ports.conversations import ConversationStore
from aos.ports.system import Clock

MOST_MESSAGES = 200
LARGEST_HISTORY = 256 * 1024
LARGEST_MEMORY = 16 * 1024 * 1024
"""Characters: of one history, and of all that one process remembers."""
REMEMBERED_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remembered:
    """The last messages of one conversation at one ETag of its head, and when that was."""

    etag: str
    messages: tuple[Message, ...]
    size: int
    at: float

    @property
    def end(self) -> int:
        """The sequence of the next message."""
        return self.messages[-1].sequence + 1


class Histories:
    """The histories of conversations, of which it remembers the ends."""

    def __init__(self, *, conversations: ConversationStore, clock: Clock) -> None:
        self._conversations = conversations
        self._clock = clock
        self._known: OrderedDict[str, _Remembered] = OrderedDict()
        self._size = 0

    async def read(
        self, conversation_id: str, *, etag: str, before: int, limit: int
    ) -> Sequence[Message]:
        """Return the messages with sequence in [before - limit, before), oldest first; `etag` is
        that of the head which counts `before` messages."""
        known, start = self._known.get(conversation_id), max(0, before - limit)
        if known is not None and known.etag == etag and known.end == before:
            first = known.messages[0].sequence
            if first <= start:
                return known.messages[start - first :]
        read = await self._conversations.read_history(conversation_id, before=before, limit=limit)
        self._remember(conversation_id, etag, tuple(read), begins=start, ends=before)
        return read

    def follow(self, step: Step, *, was: str | None, now: str) -> None:
        """Note that a step was saved, which moved the head from one ETag to another."""
        name, end = step.conversation.conversation_id, step.conversation.next_sequence
        known = self._known.get(name)
        earlier = () if known is None or known.etag != was else known.messages
        messages = (*earlier, *step.messages)[-MOST_MESSAGES:]
        begins = messages[0].sequence if messages else end
        self._remember(name, now, messages, begins=begins, ends=end)

    def _remember(
        self, name: str, etag: str, messages: tuple[Message, ...], *, begins: int, ends: int
    ) -> None:
        """Remember these messages if they are all from `begins` to `ends`, and not too large."""
        self._forget(name)
        whole = [message.sequence for message in messages] == list(range(begins, ends))
        size = _measure(messages)
        now = self._clock.monotonic()
        if messages and whole and size <= LARGEST_HISTORY:
            self._known[name] = _Remembered(etag=etag, messages=messages, size=size, at=now)
            self._size += size
        while self._known:
            oldest = next(iter(self._known.values()))
            if self._size <= LARGEST_MEMORY and now - oldest.at <= REMEMBERED_SECONDS:
                return
            self._forget(next(iter(self._known)))

    def _forget(self, name: str) -> None:
        known = self._known.pop(name, None)
        self._size -= 0 if known is None else known.size


def _measure(messages: Sequence[Message]) -> int:
    """The characters of the messages, about."""
    return sum(
        200
        + len(message.content)
        + sum(len(call.arguments) for call in message.tool_calls)
        + sum(len(write_json(part)) for part in message.parts)
        + (0 if message.fields is None else len(repr(message.fields)))
        for message in messages
    )
