"""Writes the catalog's blobs as JSON and reads them. Entry points: `index_to_json`, `head_to_json`.

The blobs are the index (`catalog/index/<sha256>.json`), the head that names the current index
(`catalog/head.json`), and the marker of complete status files. Empty fields are left out: 1,000
cards are about 300 KB.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from aos.domain.cards.assessment import CardGrant, CardReference
from aos.domain.cards.catalog import CardVersion, CatalogEntry, CatalogIndex
from aos.domain.cards.identity import CardKind
from aos.domain.codec import OMITTED, decode, encode
from aos.domain.json_writer import write_json
from aos.domain.pause import Pause

SCHEMA = 1
_AS_LISTS = {
    "references": [item.name for item in fields(CardReference)],
    "grants": [item.name for item in fields(CardGrant)],
    "history": [item.name for item in fields(CardVersion)],
}
"""The values of which an entry holds many; they are written as lists without field names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogHead:
    """The small blob that names the published index. All readers poll it.

    `index` is empty when AOS was paused before anything was published.
    """

    version: int
    revision: int
    index: str
    published_at: datetime | None = None
    pause: Pause | None = field(default=None, metadata=OMITTED)


def index_to_json(index: CatalogIndex) -> tuple[str, bytes]:
    """Write the index; return its digest, which names the blob, and its bytes."""
    raw = {"schema": SCHEMA, **encode(index, without=("entries",))}
    for kind in CardKind:
        raw[kind.value] = {card_id: _entry_to_raw(e) for card_id, e in index.list_kind(kind)}
    body = _to_bytes(raw)
    return hashlib.sha256(body).hexdigest(), body


def index_from_json(body: bytes) -> CatalogIndex:
    """Read an index from its bytes."""
    raw = json.loads(body)
    entries = {
        (kind, card_id): _entry_from_raw(entry)
        for kind in CardKind
        for card_id, entry in raw.get(kind.value, {}).items()
    }
    return replace(decode(CatalogIndex, raw), entries=entries)


def head_to_json(head: CatalogHead) -> bytes:
    """Write the head."""
    return _to_bytes({"schema": SCHEMA, **encode(head)})


def head_from_json(body: bytes) -> CatalogHead:
    """Read a head from its bytes."""
    return decode(CatalogHead, json.loads(body))


def marker_to_json(*, version: int, revision: int) -> bytes:
    """Write the marker: all status files up to this revision are written."""
    return _to_bytes({"schema": SCHEMA, "version": version, "revision": revision})


def marker_from_json(body: bytes) -> int:
    """Read from the marker the revision up to which all status files are written."""
    return int(json.loads(body)["revision"])


def status_to_json(status: Mapping[str, Any]) -> bytes:
    """Write a status file, indented for people."""
    return write_json(status, indent=2, ensure_ascii=False).encode() + b"\n"


def _entry_to_raw(entry: CatalogEntry) -> dict[str, Any]:
    raw = encode(entry)
    for name in _AS_LISTS:
        raw[name] = [list(item.values()) for item in raw[name]]
    return {name: value for name, value in raw.items() if value not in (None, [], False)}


def _entry_from_raw(raw: Mapping[str, Any]) -> CatalogEntry:
    items = {
        name: [dict(zip(names, item, strict=True)) for item in raw.get(name, ())]
        for name, names in _AS_LISTS.items()
    }
    return decode(CatalogEntry, {**raw, **items})


def _to_bytes(raw: Mapping[str, Any]) -> bytes:
    return write_json(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
