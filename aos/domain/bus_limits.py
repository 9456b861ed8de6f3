"""Says what the properties of a Service Bus message can hold. Entry points: `is_bus_id`,
`shorten_id`, `fit_properties`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

MAX_ID = 128
"""Characters of a message's, session's or correlation id, counted as .NET counts them (UTF-16)."""
MAX_PROPERTY_BYTES = 60 * 1024
"""Service Bus takes 64 KB of properties; the rest is for the standard ones and the encoding."""
_OURS = (
    "aos_app",
    "aos_expires_at",
    "aos_key",
    "aos_on_behalf_of",
    "aos_owner",
    "aos_payload",
    "agent_id",
    "attempt",
    "run_id",
    "traceparent",
    "Diagnostic-Id",
)
_LONGEST_OF_OURS = 1024
"""More than any valid value: a value that was cut is still refused."""


def is_bus_id(text: str) -> bool:
    """Whether Service Bus takes the text as an id."""
    return 0 < len(text.encode("utf-16-le", "surrogatepass")) // 2 <= MAX_ID


def shorten_id(text: str) -> str:
    """Return the text, or its SHA-256 if Service Bus does not take it as an id."""
    if is_bus_id(text):
        return text
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def fit_properties(properties: Mapping[str, object]) -> Mapping[str, object]:
    """Return the application properties, or only those of AOS if all are too large together."""
    if sum(map(_measure, properties, properties.values())) <= MAX_PROPERTY_BYTES:
        return properties
    return {name: _cut(properties[name]) for name in _OURS if name in properties}


def _measure(name: str, value: object) -> int:
    size = len(value) if isinstance(value, bytes) else len(str(value).encode("utf-8", "replace"))
    return len(name.encode("utf-8", "replace")) + size


def _cut(value: object) -> object:
    return value[:_LONGEST_OF_OURS] if isinstance(value, str | bytes) else value
