"""Defines types of fields that have a narrower JSON Schema than their Python type. Entry point:
`Digest`.

The annotation of a type is a keyword of JSON Schema and its value.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

DIGEST_PATTERN = "^[0-9a-f]{64}$"
Digest: TypeAlias = Annotated[str, ("pattern", DIGEST_PATTERN)]
"""A SHA-256 in hex."""
