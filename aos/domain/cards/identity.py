"""Defines a card's kind, id, blob name and digest. Entry point: `CardKind`."""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum

SECRET_FIELDS = ("env", "headers")
"""Fields of an MCP server card whose values may be secret."""
MAX_CARD_BYTES = 64 * 1024
ID_PATTERN = r"[a-z0-9][a-z0-9_-]{0,62}"
ID_RULE = "1 to 63 of a-z, 0-9, _ and -, beginning with a letter or a digit"
MAX_NAME = 512
"""A blob name with a longer id is not treated as a card, because its status file could not be
named."""


class CardKind(StrEnum):
    """The two kinds of card. The value is the card's folder in `aos-config`."""

    AGENT = "agents"
    MCP_SERVER = "mcp-servers"

    @property
    def id_field(self) -> str:
        """The name of the card's field that holds the id."""
        return "agent_id" if self is CardKind.AGENT else "server_id"

    def blob_name(self, card_id: str) -> str:
        """Return the name of the card's blob in `aos-config`."""
        return f"{self.value}/{card_id}.json"

    def card_id(self, blob_name: str) -> str | None:
        """Return the id in a blob's name, or None if it does not name a card of this kind."""
        prefix = f"{self.value}/"
        if not (blob_name.startswith(prefix) and blob_name.endswith(".json")):
            return None
        card_id = blob_name[len(prefix) : -len(".json")]
        return card_id if len(card_id) <= MAX_NAME else None


def is_card_id(text: str) -> bool:
    """Whether this is a valid agent id or server id."""
    return re.fullmatch(ID_PATTERN, text) is not None


def digest_of(body: bytes) -> str:
    """Return the card's digest: SHA-256 of its uploaded bytes, in hex."""
    return hashlib.sha256(body).hexdigest()
