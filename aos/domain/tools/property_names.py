"""Offers properties under names that all model endpoints take. Entry points: `make_property_name`,
`restore_names`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

_PROPERTY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
"""The names of properties that all endpoints take: Anthropic's and Bedrock's rule."""
_HASH_DIGITS = 8


def make_property_name(name: str) -> str:
    """The name under which a property is offered: its own, if all endpoints take that."""
    if _PROPERTY.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:_HASH_DIGITS]
    clean = re.sub(r"[^a-zA-Z0-9_.-]", "_", name)[: 63 - _HASH_DIGITS]
    return f"{clean}_{digest}"


def restore_names(value: Any, renamed: Mapping[str, str]) -> Any:
    """Arguments under the server's own names of their properties."""
    if isinstance(value, Mapping):
        return {renamed.get(n, n): restore_names(v, renamed) for n, v in value.items()}
    if isinstance(value, list):
        return [restore_names(item, renamed) for item in value]
    return value
