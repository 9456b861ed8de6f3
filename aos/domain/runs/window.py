"""Which part of a history does the model see?

Pure rules. A window never begins between a tool call and its results, and never loses the
question that the run is about.
"""

from __future__ import annotations

from collections.abc import Sequence

from aos.domain.runs.conversation import Message
from aos.domain.tools.offer import MAX_ASKED

MAX_TURN = 1 + MAX_ASKED
"""Messages of one turn with tools: the assistant's, and a result of each call."""


def reach(window_messages: int, *, turns: int) -> int:
    """How many messages to read so that a window of this size holds its last turn whole."""
    return max(window_messages, MAX_TURN) if turns else window_messages


def window(history: Sequence[Message], *, size: int, run_id: str) -> list[Message]:
    """The last `size` messages of a history, or a few more or less, oldest first.

    More when the run's last turn is longer; less when the oldest are results whose call is cut.
    """
    start = max(0, len(history) - size)
    last = _last_turn(history, run_id)
    if last is not None and last < start:
        start = last
    while start < len(history) and history[start].role == "tool":
        start += 1
    return list(history[start:])


def _last_turn(history: Sequence[Message], run_id: str) -> int | None:
    """Where the last answer of this run is, if it has one."""
    for place in range(len(history) - 1, -1, -1):
        message = history[place]
        if message.run_id != run_id:
            return None
        if message.role == "assistant":
            return place
    return None
