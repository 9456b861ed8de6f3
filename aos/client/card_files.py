"""Reads card files to upload. Entry point: `read_card_file`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aos.domain.cards.identity import ID_RULE, MAX_CARD_BYTES, CardKind, is_card_id
from aos.domain.json_reader import JsonTextError, parse_json
from aos.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFile:
    """A card file: its bytes, and what they say (None: not a JSON object)."""

    kind: CardKind
    card_id: str
    path: Path
    body: bytes
    value: dict[str, Any] | None


def read_card_file(path: Path, *, kind: CardKind | None = None) -> CardFile:
    """Read a card. Without `kind` it is an MCP server's if it has a `server_id`.

    The card's own id counts; without one the file's name. Raises ConfigurationError.
    """
    try:
        with path.open("rb") as stream:
            body = stream.read(MAX_CARD_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(f"{str(path)!r} cannot be read: {reason}") from error
    value = _parse_object(body)
    is_server = value is not None and CardKind.MCP_SERVER.id_field in value
    found = kind or (CardKind.MCP_SERVER if is_server else CardKind.AGENT)
    own = None if value is None else value.get(found.id_field)
    named = path.name.removesuffix(".json")
    card_id = own if kind is None and isinstance(own, str) and is_card_id(own) else named
    if not is_card_id(card_id):
        raise ConfigurationError(f"{str(path)!r} cannot be a card's name; an id is {ID_RULE}")
    return CardFile(kind=found, card_id=card_id, path=path, body=body, value=value)


def _parse_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = parse_json(body, max_bytes=MAX_CARD_BYTES)
    except JsonTextError:
        return None
    return value if isinstance(value, dict) else None
