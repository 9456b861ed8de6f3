"""Names types of fields that say more in a JSON Schema than in Python. Entry point: `Digest`.

What stands behind the type is a keyword of JSON Schema and its value.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

DIGEST_PATTERN = "^[0-9a-f]{64}$"
Digest: TypeAlias = Annotated[str, ("pattern", DIGEST_PATTERN)]
"""A SHA-256 in hex."""
