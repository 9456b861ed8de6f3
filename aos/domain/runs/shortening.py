"""Shortens a history that is too long for a model. Entry point: `shorten_history`.

A tool's long results, or many of them, must not end a conversation: what is cut or left out here is
still in the history that is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from aos.domain.runs.attachments import show_parts
from aos.domain.runs.conversation import Message
from aos.domain.tools.tool import cut_for_model

EARLIER_RESULT_BYTES = 1_000
"""Bytes that are shown of a result of an earlier run."""
SHORTEST_RESULT_BYTES = 200


def shorten_history(history: Sequence[Message], *, run_id: str, size: int) -> list[Message]:
    """The history in about `size` characters, if the run's question and calls have less.

    First the results of earlier runs are cut, then the oldest messages are left out, then the
    run's own results are cut. The run's question is never changed.
    """
    begin = next((n for n, m in enumerate(history) if m.run_id == run_id), len(history))
    own = list(history[begin:])
    earlier = [_cut_result(message, EARLIER_RESULT_BYTES) for message in history[:begin]]
    over = measure([*earlier, *own]) - size
    dropped = 0
    while over > 0 and dropped < len(earlier):
        over -= measure(earlier[dropped : dropped + 1])
        dropped += 1
    if over > 0:
        own = _cut_results(own, size)
    return [*earlier[dropped:], *own]


def measure(messages: Iterable[Message]) -> int:
    """The characters of the texts, text files included, and of the arguments of calls."""
    return sum(
        len(show_parts(message, run_id=message.run_id, as_attachments=True)[0])
        + sum(len(call.arguments) for call in message.tool_calls)
        for message in messages
    )


def _cut_results(messages: list[Message], size: int) -> list[Message]:
    """The messages with their results cut to equal shares of what the others leave."""
    results = [message for message in messages if message.role == "tool"]
    room = size - (measure(messages) - measure(results))
    share = max(room // max(len(results), 1), SHORTEST_RESULT_BYTES)
    return [_cut_result(message, share) for message in messages]


def _cut_result(message: Message, limit: int) -> Message:
    if message.role != "tool":
        return message
    return replace(message, content=cut_for_model(message.content, limit=limit))
