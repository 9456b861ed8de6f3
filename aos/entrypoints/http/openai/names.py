"""Writes the ids of AOS as those of OpenAI's API, and reads them back. Entry points: `ResponseId`,
`name_conversation`, `read_conversation_id`.

Nothing is stored for it: an id of the API holds the id of AOS. A run that waits for approvals is
several responses in the API: the first one ends with the requests, the next one begins with the
decisions. `ResponseId.part` counts them.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

from aos.domain.conversation_ids import is_conversation_id
from aos.entrypoints.ids import is_tool_call_id
from aos.errors import Refused

CONVERSATION = "conv_"
_RESPONSE = re.compile(r"resp_([0-9a-f]{32})(?:_([1-9][0-9]{0,3}))?", re.ASCII)
_APPROVAL = re.compile(r"mcpr_([0-9a-f]{32})_(call_[0-9a-f_]{1,40})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ResponseId:
    """A run, or the part of it that came after so many waits for approvals."""

    run_id: str
    part: int = 0

    def __str__(self) -> str:
        name = f"resp_{hexed(self.run_id)}"
        return f"{name}_{self.part}" if self.part else name

    @classmethod
    def read(cls, text: str, *, field: str | None = None) -> ResponseId:
        """Read an id of the API. Raises Refused `run_not_found`."""
        found = _RESPONSE.fullmatch(text)
        if found is None:
            named = {} if field is None else {"field": field}
            raise Refused("run_not_found", f"there is no response {text[:80]!r} of yours", **named)
        return cls(str(uuid.UUID(found[1])), int(found[2] or 0))


def hexed(run_id: str) -> str:
    """A run's id without hyphens."""
    return run_id.replace("-", "")


def name_message(run_id: str, turn: int) -> str:
    """The id of the message of a turn."""
    return f"msg_{hexed(run_id)}_{turn}"


def name_call(run_id: str, tool_call_id: str) -> str:
    """The id of the item of a tool call."""
    return f"mcp_{hexed(run_id)}_{tool_call_id}"


def name_approval(run_id: str, tool_call_id: str) -> str:
    """The id of the item that asks for a decision."""
    return f"mcpr_{hexed(run_id)}_{tool_call_id}"


def read_approval(text: str) -> tuple[str, str] | None:
    """The run and the tool call of a request for a decision; None for another text."""
    found = _APPROVAL.fullmatch(text)
    if found is None or not is_tool_call_id(found[2]):
        return None
    return str(uuid.UUID(found[1])), found[2]


def name_chat(run_id: str) -> str:
    """The id of a chat completion."""
    return f"chatcmpl-{hexed(run_id)}"


def name_conversation(conversation_id: str) -> str:
    """The id of a conversation in the API."""
    return f"{CONVERSATION}{conversation_id}"


def read_conversation_id(text: str, *, field: str | None = None) -> str:
    """Read the id of a conversation. Raises Refused `conversation_not_found`."""
    found = text.removeprefix(CONVERSATION)
    if found == text or not is_conversation_id(found):
        named = {} if field is None else {"field": field}
        raise Refused(
            "conversation_not_found",
            f"there is no conversation {text[:80]!r} of yours; ids begin with {CONVERSATION!r}",
            **named,
        )
    return found
