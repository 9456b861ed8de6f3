"""Which texts can be ids of ours?

Ids become storage keys, and an id that cannot be one of ours names nothing: 404, not 400.
"""

from __future__ import annotations

import re
import uuid

CONVERSATION_PATTERN = r"^[A-Za-z0-9._-]{1,128}$"
CONVERSATION_RULE = '1 to 128 of A-Z, a-z, 0-9, ".", "_" and "-"'


def run_id_of(text: str) -> str | None:
    """The run id that a text says (they are UUIDs), or None."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def is_conversation_id(text: str) -> bool:
    """Could this be a conversation's id?"""
    return re.fullmatch(CONVERSATION_PATTERN, text) is not None and not text.endswith("\n")


def is_tool_call_id(text: str) -> bool:
    """Could this be the id of a tool call?"""
    return re.fullmatch(r"call_[0-9a-f]{8}_[0-9]{1,6}_[0-9]{1,6}", text, re.ASCII) is not None
