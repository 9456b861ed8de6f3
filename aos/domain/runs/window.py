"""Selects the part of a history that the model reads. Entry point: `select_window`.

The window never begins between a tool call and its results, and never drops the last turn of the
run.
"""

from __future__ import annotations

from collections.abc import Sequence

from aos.domain.runs.conversation import Message
from aos.domain.tools.offer import MAX_ASKED

MAX_TURN = 1 + MAX_ASKED
"""Messages of one turn with tools: the assistant's, and a result of each call."""


def count_to_read(window_messages: int, *, turns: int) -> int:
    """How many messages to read so that the window holds the run's last turn completely."""
    return max(window_messages, MAX_TURN) if turns else window_messages


def select_window(history: Sequence[Message], *, size: int, run_id: str) -> list[Message]:
    """About the last `size` messages of a history, oldest first.

    More when the run's last turn is longer. Fewer when the oldest are results without their call.
    """
    start = max(0, len(history) - size)
    last = _find_last_turn(history, run_id)
    if last is not None and last < start:
        start = last
    while start < len(history) and history[start].role == "tool":
        start += 1
    return list(history[start:])


def _find_last_turn(history: Sequence[Message], run_id: str) -> int | None:
    """The index of this run's last answer; None when it has none."""
    for place in range(len(history) - 1, -1, -1):
        message = history[place]
        if message.run_id != run_id:
            return None
        if message.role == "assistant":
            return place
    return None
