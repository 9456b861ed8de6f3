"""Where does the catalog lie in storage?

`aos-config` holds cards (in) and status files (out); `aos-data` what is published.
"""

from __future__ import annotations

from aos.domain.cards.identity import CardKind

HEAD = "catalog/head.json"
MARKER = "catalog/statuses.json"


def card_body(digest: str) -> str:
    """A published card, byte for byte as uploaded (`aos-data`)."""
    return f"catalog/cards/{digest}.json"


def index(digest: str) -> str:
    """A published index (`aos-data`)."""
    return f"catalog/index/{digest}.json"


def status(kind: CardKind, card_id: str) -> str:
    """A card's status file (`aos-config`); the id as in the blob's name."""
    return f"status/{kind.value}/{card_id}.json"
