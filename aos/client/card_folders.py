"""Compares a folder of cards with the cards of an AOS. Entry points: `read_folder`, `read_cards`,
`plan_changes`.

A folder has `agents/<id>.json` and `mcp-servers/<id>.json`, as in `aos-config`. Cards are compared
by what they say: order of members and layout do not count. There is no state file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from aos.client.card_files import CardFile, read_card_file
from aos.client.errors import AosClientError
from aos.client.http import AosClient
from aos.domain.cards.identity import MAX_CARD_BYTES, SECRET_FIELDS, CardKind, is_card_id
from aos.domain.json_writer import write_json
from aos.errors import ConfigurationError

Action: TypeAlias = Literal["create", "update", "delete"]
Key: TypeAlias = tuple[CardKind, str]
MASK = "***"
"""What AOS shows, instead of values that may be secret, to callers who are not admins."""
UNREADABLE = "it is not a JSON object there"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCard:
    """A card of an AOS. `value` None: the upload is not a JSON object."""

    kind: CardKind
    card_id: str
    etag: str
    value: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What has to be done to one card. `file` None: delete it. `etag` None: there is none yet."""

    kind: CardKind
    card_id: str
    action: Action
    file: CardFile | None
    etag: str | None
    diff: tuple[str, ...]

    @property
    def name(self) -> str:
        """The card's name in the folder."""
        return self.kind.blob_name(self.card_id)

    def describe(self) -> dict[str, Any]:
        """The change as an object."""
        named = {"card": self.name, self.kind.id_field: self.card_id}
        return {"action": self.action, **named, "diff": list(self.diff)}


def read_folder(folder: Path) -> dict[Key, CardFile]:
    """Read the cards of a folder. Raises ConfigurationError."""
    if not folder.is_dir():
        raise ConfigurationError(f"there is no folder {str(folder)!r}")
    found: dict[Key, CardFile] = {}
    for kind in CardKind:
        for path in sorted((folder / kind.value).glob("*.json")):
            card = read_card_file(path, kind=kind)
            found[kind, card.card_id] = card
    return found


def read_cards(client: AosClient) -> dict[Key, StoredCard]:
    """Read all cards of an AOS. Raises ConfigurationError if their secrets are masked."""
    found: dict[Key, StoredCard] = {}
    for kind in CardKind:
        for card_id in _list_ids(client, kind):
            stored = _read_card(client, kind, card_id)
            if stored is not None:
                found[kind, card_id] = stored
    return found


def _list_ids(client: AosClient, kind: CardKind) -> list[str]:
    """The ids of cards; a blob whose name no card can have is none."""
    items = client.agents() if kind is CardKind.AGENT else client.mcp_servers()
    return [card_id for item in items if is_card_id(card_id := str(item[kind.id_field]))]


def _read_card(client: AosClient, kind: CardKind, card_id: str) -> StoredCard | None:
    """Read a card; None if it has just been removed."""
    read = client.agent if kind is CardKind.AGENT else client.mcp_server
    try:
        view = read(card_id)
    except AosClientError as error:
        if error.status == 404:
            return None
        raise
    if _is_masked(view["card"]):
        raise ConfigurationError(
            f"{client.url} masks values of the card {kind.blob_name(card_id)!r};"
            " an admin's key shows them (--key or AOS_KEY)"
        )
    return StoredCard(kind=kind, card_id=card_id, etag=view["source_etag"], value=view["card"])


def plan_changes(
    folder: Mapping[Key, CardFile], there: Mapping[Key, StoredCard], *, delete: bool
) -> list[Change]:
    """Return what has to be done so that the AOS has the folder's cards, in the order to do it.

    A card comes after those that it names: servers, then members of teams, then their leaders.
    Cards that the folder does not have are deleted last, and only with `delete`.
    """
    changes = [
        _change(card, there.get(key))
        for key, card in _order(folder)
        if key not in there or not _is_same(card.value, there[key].value)
    ]
    if delete:
        gone = sorted(key for key in there if key not in folder)  # agents before servers
        changes += [_removal(there[key]) for key in gone]
    return changes


def write_card(value: Mapping[str, Any]) -> bytes:
    """Write a card as a file: the same bytes for the same card."""
    text = write_json(value, indent=2, ensure_ascii=False).encode() + b"\n"
    return text if len(text) <= MAX_CARD_BYTES else write_json(value, ensure_ascii=False).encode()


def is_written_as(card: CardFile | None, value: Mapping[str, Any]) -> bool:
    """Whether the file says this already."""
    return card is not None and _is_same(card.value, value)


def _is_same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    if one is None or other is None:
        return False
    return write_json(one, sort_keys=True) == write_json(other, sort_keys=True)


def _is_masked(card: Mapping[str, Any] | None) -> bool:
    fields = [(card or {}).get(name) for name in SECRET_FIELDS]
    return any(MASK in field.values() for field in fields if isinstance(field, dict))


def _order(folder: Mapping[Key, CardFile]) -> Iterator[tuple[Key, CardFile]]:
    """Each card once, after those that it names; a circle is broken anywhere."""
    done: set[Key] = set()

    def visit(key: Key, path: frozenset[Key]) -> Iterator[tuple[Key, CardFile]]:
        if key in done or key in path or key not in folder:
            return
        team = (folder[key].value or {}).get("team")
        for member in team if isinstance(team, list) else ():
            yield from visit((CardKind.AGENT, str(member)), path | {key})
        done.add(key)
        yield key, folder[key]

    for kind in (CardKind.MCP_SERVER, CardKind.AGENT):
        for key in sorted(folder):
            if key[0] is kind:
                yield from visit(key, frozenset())


def _change(card: CardFile, there: StoredCard | None) -> Change:
    return Change(
        kind=card.kind,
        card_id=card.card_id,
        action="create" if there is None else "update",
        file=card,
        etag=None if there is None else there.etag,
        diff=_compare(card.kind, card.card_id, None if there is None else there.value, card.value),
    )


def _removal(there: StoredCard) -> Change:
    return Change(
        kind=there.kind,
        card_id=there.card_id,
        action="delete",
        file=None,
        etag=there.etag,
        diff=_compare(there.kind, there.card_id, there.value, None),
    )


def _compare(
    kind: CardKind,
    card_id: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> tuple[str, ...]:
    """The lines of a unified diff, with values that may be secret masked."""
    old, new = _write_lines(before, after, "old"), _write_lines(after, before, "new")
    name = kind.blob_name(card_id)
    return tuple(difflib.unified_diff(old, new, f"there/{name}", f"folder/{name}", lineterm=""))


def _write_lines(
    card: Mapping[str, Any] | None, other: Mapping[str, Any] | None, side: str
) -> list[str]:
    if card is None:
        return []
    shown = {name: card[name] for name in _sort_names(card)}
    for name in SECRET_FIELDS:
        values = card.get(name)
        if isinstance(values, dict):
            others = (other or {}).get(name)
            known = others if isinstance(others, dict) else {}
            shown[name] = {
                key: MASK if other is None or known.get(key) == value else f"{MASK} ({side})"
                for key, value in sorted(values.items())
            }
    return write_json(shown, indent=2, ensure_ascii=False, sort_keys=False).splitlines()


def _sort_names(card: Iterable[str]) -> list[str]:
    """The names with the id first, as people write cards."""
    return sorted(card, key=lambda name: (not name.endswith("_id"), name))
