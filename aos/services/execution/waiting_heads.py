"""Remembers the heads of conversations whose runs wait for tools. Entry point: `WaitingHeads`.

The result of a tool comes to the process that has written the head. It goes on from the head as it
was written, and the head's ETag guards its save as always: if another process has written the head
meanwhile, nothing is saved, and the result is taken again after a read.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from aos.domain.envelope import RealmCommand, ToolResult
from aos.domain.json_writer import write_json
from aos.domain.runs.conversation import Conversation
from aos.domain.runs.tool_turns import find_awaited
from aos.ports.conversations import Loaded
from aos.ports.system import Clock

MOST_HEADS = 256
LARGEST_HEAD = 64 * 1024
"""Characters, about. With `MOST_HEADS` a process remembers 16 MiB at most."""
REMEMBERED_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remembered:
    """A head as it was saved last, its ETag, and when that was."""

    head: Conversation
    etag: str
    at: float


class WaitingHeads:
    """The heads that this process has written last, while their runs wait for tools."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[str, _Remembered] = OrderedDict()

    def note(self, head: Conversation, etag: str) -> None:
        """Remember a head that is saved, if its run waits for tools and it is not large."""
        self._known.pop(head.conversation_id, None)
        active, now = head.active, self._clock.monotonic()
        if active is None or head.cleaning is not None or head.outbox:
            return
        if not any(call.state == "called" for call in active.calls) or _is_large(head):
            return
        self._known[head.conversation_id] = _Remembered(head=head, etag=etag, at=now)
        while len(self._known) > MOST_HEADS or self._oldest_age(now) > REMEMBERED_SECONDS:
            self._known.popitem(last=False)

    def take(self, command: RealmCommand, *, is_first: bool) -> Loaded | None:
        """Return the head that the first delivery of a result goes on from; None: read it.

        Each head is returned once. Of a result that it does not wait for, the head may be too old
        to judge.
        """
        known = self._known.pop(command.conversation_id, None)
        if known is None or not is_first or not isinstance(command, ToolResult):
            return None
        if self._clock.monotonic() - known.at > REMEMBERED_SECONDS:
            return None
        awaited = find_awaited(
            known.head,
            run_id=command.run_id,
            tool_call_id=command.tool_call_id,
            round_number=command.round_number,
        )
        return None if awaited is None else Loaded(conversation=known.head, etag=known.etag)

    def _oldest_age(self, now: float) -> float:
        return now - next(iter(self._known.values())).at


def _is_large(head: Conversation) -> bool:
    """Whether the head may hold much: what is seldom there counts as large, without a look."""
    active = head.active
    assert active is not None
    requests = (active.request, *head.queued)
    if any(request.parts or request.options for request in requests):
        return True
    size = sum(len(request.message) + len(write_json(request.metadata)) for request in requests)
    for call in active.calls:
        if call.pause is not None or (call.result is not None and call.result.parts):
            return True
        size += 2 * len(call.written) + (0 if call.result is None else len(call.result.content))
    return size > LARGEST_HEAD
