"""Repairs a history so that every model endpoint accepts it. Entry point: `repair_history`.

A run that was cancelled, timed out or failed leaves questions without answers, calls without
results and blank texts. Strict endpoints refuse a whole request for one of them. After the repair
the first message is a user's, roles alternate, and each call is followed by its result.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from aos.domain.runs.conversation import Message, Role

NO_ANSWER = "(This question was not answered: the run ended before.)"
NO_RESULT = "(This call has no result: the run ended before.)"
WITHHELD = "(A message that the model endpoint's content filter refused is left out here.)"
GO_ON = "(Go on.)"
CUT_OFF = "(Earlier messages are left out.)"


def repair_history(history: Sequence[Message], *, withheld: Collection[str] = ()) -> list[Message]:
    """The history, with the run's question, as a model may read it.

    `withheld` are the runs whose texts the endpoint's content filter refused: one placeholder
    replaces each. Other messages stay unchanged. An added message says why it was added.
    """
    return list(
        _alternate_roles(
            _start_with_user(_complete_results(_join_brought(_replace_withheld(history, withheld))))
        )
    )


def _replace_withheld(history: Sequence[Message], withheld: Collection[str]) -> list[Message]:
    """Replace each withheld run by one placeholder."""
    kept: list[Message] = []
    for message in history:
        if message.run_id not in withheld:
            kept.append(message)
        elif not kept or kept[-1].run_id != message.run_id:
            kept.append(_make_filler("user", WITHHELD, like=message))
    return kept


def _join_brought(history: Sequence[Message]) -> list[Message]:
    """Join a user's message that a request brought as said before with the next one of the user:
    nobody left it without an answer."""
    joined: list[Message] = []
    for message in history:
        before = joined[-1] if joined else None
        if before is not None and not before.run_id and before.role == message.role == "user":
            content = f"{before.content}\n\n{message.content}"
            joined[-1] = replace(message, content=content, parts=(*before.parts, *message.parts))
        else:
            joined.append(message)
    return joined


def _complete_results(history: Sequence[Message]) -> list[Message]:
    """Put a result after each call, a filler if it is missing; drop results without a call."""
    shown: list[Message] = []
    place = 0
    while place < len(history):
        message = history[place]
        place += 1
        if message.role == "tool":
            continue  # its call is not in the window
        shown.append(message)
        results: dict[str | None, Message] = {}
        while message.tool_calls and place < len(history) and history[place].role == "tool":
            results.setdefault(history[place].tool_call_id, history[place])
            place += 1
        for call in message.tool_calls:
            missing = replace(
                _make_filler("tool", NO_RESULT, like=message), tool_call_id=call.tool_call_id
            )
            shown.append(results.get(call.tool_call_id, missing))
    return shown


def _start_with_user(history: list[Message]) -> list[Message]:
    """Begin with the first user message, unless that is the last message."""
    for place, message in enumerate(history[:-1]):
        if message.role == "user":
            return history[place:]
    if not history or history[0].role == "user":
        return history
    return [_make_filler("user", CUT_OFF, like=history[0]), *history]


def _alternate_roles(history: Iterable[Message]) -> Iterable[Message]:
    """Add a message between two messages that endpoints do not accept in sequence."""
    before: Message | None = None
    for message in history:
        if before is not None:
            if message.role == "user" and before.role in ("user", "tool"):
                yield _make_filler("assistant", NO_ANSWER, like=before)
            elif message.role == "assistant" and before.role == "assistant":
                yield _make_filler("user", GO_ON, like=before)
        yield message
        before = message


def _make_filler(role: Role, content: str, *, like: Message) -> Message:
    return Message(
        sequence=like.sequence,
        role=role,
        content=content,
        run_id=like.run_id,
        created_at=like.created_at,
    )
