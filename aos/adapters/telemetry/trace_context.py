"""How is one trace id carried from hop to hop?

The W3C `traceparent` (`00-<trace id>-<span id>-<flags>`), read and made without OpenTelemetry, so
that a trace goes from door to reply also where nothing records it.
"""

from __future__ import annotations

import re
import secrets

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
SAMPLED = "01"


def new_traceparent() -> str:
    """The first traceparent of a trace: for a door that was given none."""
    return f"00-{_random_id(16)}-{_random_id(8)}-{SAMPLED}"


def child_traceparent(parent: str | None) -> str:
    """A new span in the trace of `parent`; without a (valid) parent, in a new trace."""
    found = _TRACEPARENT.fullmatch(parent or "")
    if found is None or not valid_traceparent(parent):
        return new_traceparent()
    return f"00-{found[1]}-{_random_id(8)}-{found[3]}"


def valid_traceparent(text: str | None) -> bool:
    """Whether W3C would let one continue it: well formed, ids not all zeros."""
    found = _TRACEPARENT.fullmatch(text or "")
    if found is None or (found[0].startswith("00") and found[4]):
        return False
    return bool(found[1].strip("0") and found[2].strip("0"))


def trace_id(traceparent: str) -> str:
    """The trace id in a valid traceparent."""
    return traceparent.split("-")[1]


def _random_id(size: int) -> str:
    """`size` random bytes in hexadecimal, not all zeros."""
    while not (text := secrets.token_hex(size)).strip("0"):
        pass
    return text
