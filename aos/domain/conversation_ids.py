"""Defines which texts can be ids of conversations. Entry point: `is_conversation_id`."""

from __future__ import annotations

import re

CONVERSATION_PATTERN = r"^[A-Za-z0-9._-]{1,128}$"
CONVERSATION_RULE = '1 to 128 of A-Z, a-z, 0-9, ".", "_" and "-"'
"""The pattern as messages say it."""


def is_conversation_id(text: str) -> bool:
    """Whether this could be a conversation's id: ids become keys of storage."""
    return re.fullmatch(CONVERSATION_PATTERN, text) is not None and not text.endswith("\n")
