"""Names a card: its kind, its id, its blob and its digest. Entry point: `CardKind`."""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum

MAX_CARD_BYTES = 64 * 1024
ID_PATTERN = r"[a-z0-9][a-z0-9_-]{0,62}"
ID_RULE = "1 to 63 of a-z, 0-9, _ and -, beginning with a letter or a digit"
MAX_NAME = 512
"""A blob whose name claims a longer id is no card: its status file could not be named."""


class CardKind(StrEnum):
    """The two kinds of card; the value is their folder in `aos-config`."""

    AGENT = "agents"
    MCP_SERVER = "mcp-servers"

    @property
    def id_field(self) -> str:
        """The field that holds the id."""
        return "agent_id" if self is CardKind.AGENT else "server_id"

    def blob_name(self, card_id: str) -> str:
        """Where the card lies in `aos-config`."""
        return f"{self.value}/{card_id}.json"

    def card_id(self, blob_name: str) -> str | None:
        """The id that a blob's name claims, or None for what is no card of this kind."""
        prefix = f"{self.value}/"
        if not (blob_name.startswith(prefix) and blob_name.endswith(".json")):
            return None
        card_id = blob_name[len(prefix) : -len(".json")]
        return card_id if len(card_id) <= MAX_NAME else None


def is_card_id(text: str) -> bool:
    """Is this a valid agent or server id?"""
    return re.fullmatch(ID_PATTERN, text) is not None


def digest_of(body: bytes) -> str:
    """The digest of a card: SHA-256 of its bytes as uploaded, in hex."""
    return hashlib.sha256(body).hexdigest()
