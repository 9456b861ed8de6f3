"""Reads and makes the W3C `traceparent` header without OpenTelemetry. Entry points:
`make_traceparent`, `make_child_traceparent`.

Its form is `00-<trace id>-<span id>-<flags>`. A trace passes from the request to the reply even if
nothing records it.
"""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
SAMPLED = "01"
current_traceparent: ContextVar[str | None] = ContextVar("aos_traceparent", default=None)
"""The traceparent of the current task's span, for log lines and for spans without a parent."""


def make_traceparent() -> str:
    """Make the first traceparent of a trace, for a request that has none."""
    return f"00-{_make_random_id(16)}-{_make_random_id(8)}-{SAMPLED}"


def make_child_traceparent(parent: str | None) -> str:
    """Make a new span in the trace of `parent`, or in a new trace if `parent` is missing or
    invalid."""
    found = _TRACEPARENT.fullmatch(parent or "")
    if found is None or not is_valid_traceparent(parent):
        return make_traceparent()
    return f"00-{found[1]}-{_make_random_id(8)}-{found[3]}"


def is_valid_traceparent(text: str | None) -> bool:
    """Whether the traceparent may be continued under W3C: well formed, and no id is all zeros."""
    found = _TRACEPARENT.fullmatch(text or "")
    if found is None or (found[0].startswith("00") and found[4]):
        return False
    return bool(found[1].strip("0") and found[2].strip("0"))


def trace_id(traceparent: str) -> str:
    """Return the trace id of a valid traceparent."""
    return traceparent.split("-")[1]


def _make_random_id(size: int) -> str:
    """Return `size` random bytes in hexadecimal, not all zeros."""
    while not (text := secrets.token_hex(size)).strip("0"):
        pass
    return text
