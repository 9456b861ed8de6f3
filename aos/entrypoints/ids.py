"""Decides which texts can be ids. Entry points: `parse_run_id`, `is_conversation_id`,
`is_tool_call_id`.

Ids become storage keys. An id that cannot exist is answered with 404, not 400.
"""

from __future__ import annotations

import re
import uuid


def parse_run_id(text: str) -> str | None:
    """Return the run id (a UUID) in its usual form, or None."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def is_tool_call_id(text: str) -> bool:
    """Whether this can be the id of a tool call."""
    return re.fullmatch(r"call_[0-9a-f]{8}_[0-9]{1,6}_[0-9]{1,6}", text, re.ASCII) is not None
