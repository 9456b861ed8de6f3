"""Reads a conversation, and writes it as AG-UI messages. Entry points: `read_thread`,
`write_history`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aos.domain.caller import Caller
from aos.domain.codec import encode
from aos.domain.runs.conversation import Conversation, Message
from aos.domain.runs.run import AdmittedRequest
from aos.entrypoints.http.ag_ui.telling import write_call
from aos.entrypoints.http.caller_runs import CallerRuns
from aos.errors import Refused

MAX_STATED = 1000
"""Messages of a conversation that are stated; a longer one is not, because a part would drop the
rest."""
MAX_STATED_CHARACTERS = 4_000_000
"""Of the texts of all these messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A thread as it is now.

    `going` is the run that has not ended. Of its messages `messages` has the question alone, since
    its events tell the others; None are too many messages.
    """

    messages: list[dict[str, Any]] | None
    going: AdmittedRequest | None


async def read_thread(
    callers: CallerRuns, thread_id: str, *, agent_id: str, caller: Caller
) -> Thread | None:
    """Return the thread, None where none of the caller's has this id. Raises Refused
    `agent_mismatch` and `conversation_deleted`."""
    try:
        head = await callers.find_conversation(thread_id, caller=caller)
    except Refused as error:
        if error.code != "conversation_not_found":
            raise
        return None
    if head.agent_id != agent_id:
        raise Refused(
            "agent_mismatch",
            f"conversation {thread_id!r} is with agent {head.agent_id!r}, not {agent_id!r}",
        )
    going = head.queued[0] if head.queued else None
    if head.active is not None:
        going = head.active.request
    found = await list_all(callers, head)
    if found is None or going is None:
        return Thread(messages=None if found is None else write_history(found), going=going)
    before = [message for message in found if message.run_id != going.run_id]
    question = {"id": f"{going.run_id}.0", "role": "user", "content": going.message}
    return Thread(messages=[*write_history(before), question], going=going)


async def list_all(callers: CallerRuns, head: Conversation) -> list[Message] | None:
    """Return all messages of the conversation; None where they are too many."""
    found: list[Message] = []
    start = size = 0
    while len(found) <= MAX_STATED and size <= MAX_STATED_CHARACTERS:
        page = await callers.read_messages(head, start=start)
        found += page.items
        size += sum(len(message.content) for message in page.items)
        if page.next is None:
            return found
        start = int(page.next)
    return None


def write_history(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return the messages. Their ids are of their own, so that the client takes their order too."""
    return [_write_message(message) for message in messages]


def _write_message(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": f"m{message.sequence}",
        "role": message.role,
        "content": message.content,
    }
    if message.tool_calls:
        made["toolCalls"] = [write_call(encode(call)) for call in message.tool_calls]
    if message.tool_call_id is not None:
        made["toolCallId"] = message.tool_call_id
    return made
