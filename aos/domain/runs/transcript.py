"""Makes of a history what every model endpoint accepts. Entry point: `repair_history`.

A conversation stays usable whatever happened in it: a run that was cancelled, timed out or failed
between a call and its answer leaves questions without answers, calls without results and blank
texts, and the strict endpoints refuse the whole request for one of them. The rules hold for all:
the first message is a person's, roles alternate, each call has its result right after it.
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
    """The history, the question in it, as it is shown to a model.

    `withheld` are the runs whose texts the endpoint's content filter refused: each is shown as one
    placeholder. Nothing is changed in what is kept; what is added says why it is there.
    """
    return list(_alternating(_begun(_answered(_without(history, withheld)))))


def _without(history: Sequence[Message], withheld: Collection[str]) -> list[Message]:
    """The history with one placeholder for each run that is withheld."""
    kept: list[Message] = []
    for message in history:
        if message.run_id not in withheld:
            kept.append(message)
        elif not kept or kept[-1].run_id != message.run_id:
            kept.append(_filler("user", WITHHELD, like=message))
    return kept


def _answered(history: Sequence[Message]) -> list[Message]:
    """Each call followed by its result, and no result without its call."""
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
                _filler("tool", NO_RESULT, like=message), tool_call_id=call.tool_call_id
            )
            shown.append(results.get(call.tool_call_id, missing))
    return shown


def _begun(history: list[Message]) -> list[Message]:
    """From the first question on; where that is the last message, what is before it stays."""
    for place, message in enumerate(history[:-1]):
        if message.role == "user":
            return history[place:]
    if not history or history[0].role == "user":
        return history
    return [_filler("user", CUT_OFF, like=history[0]), *history]


def _alternating(history: Iterable[Message]) -> Iterable[Message]:
    """With something said between two messages that no endpoint takes one after the other."""
    before: Message | None = None
    for message in history:
        if before is not None:
            if message.role == "user" and before.role in ("user", "tool"):
                yield _filler("assistant", NO_ANSWER, like=before)
            elif message.role == "assistant" and before.role == "assistant":
                yield _filler("user", GO_ON, like=before)
        yield message
        before = message


def _filler(role: Role, content: str, *, like: Message) -> Message:
    return Message(
        sequence=like.sequence,
        role=role,
        content=content,
        run_id=like.run_id,
        created_at=like.created_at,
    )
