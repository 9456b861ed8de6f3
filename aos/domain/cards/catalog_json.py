"""Writes the catalog's blobs as JSON and reads them. Entry points: `index_to_json`, `head_to_json`.

The blobs are the index (`catalog/index/<sha256>.json`), the head that names the current index
(`catalog/head.json`), and the marker of complete status files. Empty fields are left out: 1,000
cards are about 300 KB.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aos.domain.cards.assessment import CardProblem, CardReference
from aos.domain.cards.catalog import CardVersion, CatalogEntry, CatalogIndex
from aos.domain.cards.identity import CardKind
from aos.domain.codec import encode
from aos.domain.json_writer import write_json
from aos.domain.wire_time import from_wire_time, required_time, to_wire_time

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogHead:
    """The small blob that names the published index. All readers poll it."""

    version: int
    revision: int
    index: str
    published_at: datetime | None = None


def index_to_json(index: CatalogIndex) -> tuple[str, bytes]:
    """Write the index; return its digest, which names the blob, and its bytes."""
    raw: dict[str, Any] = {
        "schema": SCHEMA,
        "version": index.version,
        "revision": index.revision,
        "previous": index.previous,
        "policy": index.policy,
        "published_at": to_wire_time(index.published_at),
    }
    for kind in CardKind:
        raw[kind.value] = {card_id: _entry_to_raw(e) for card_id, e in index.list_kind(kind)}
    body = _to_bytes(raw)
    return hashlib.sha256(body).hexdigest(), body


def index_from_json(body: bytes) -> CatalogIndex:
    """Read an index from its bytes."""
    raw = json.loads(body)
    return CatalogIndex(
        version=raw["version"],
        revision=raw["revision"],
        previous=raw["previous"],
        policy=raw["policy"],
        published_at=from_wire_time(raw["published_at"]),
        entries={
            (kind, card_id): _entry_from_raw(entry)
            for kind in CardKind
            for card_id, entry in raw.get(kind.value, {}).items()
        },
    )


def head_to_json(head: CatalogHead) -> bytes:
    """Write the head."""
    return _to_bytes(
        {
            "schema": SCHEMA,
            "version": head.version,
            "revision": head.revision,
            "index": head.index,
            "published_at": to_wire_time(head.published_at),
        }
    )


def head_from_json(body: bytes) -> CatalogHead:
    """Read a head from its bytes."""
    raw = json.loads(body)
    return CatalogHead(
        version=raw["version"],
        revision=raw["revision"],
        index=raw["index"],
        published_at=from_wire_time(raw["published_at"]),
    )


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
    raw: dict[str, Any] = {
        "state": entry.state,
        "digest": entry.digest,
        "source_etag": entry.source_etag,
        "serving_digest": entry.serving_digest,
        "enabled": entry.enabled,
        "catalog_version": entry.catalog_version,
        "revision": entry.revision,
        "errors": [encode(p) for p in entry.errors],
        "own_warnings": [encode(p) for p in entry.own_warnings],
        "warnings": [encode(p) for p in entry.warnings],
        "references": [[r.path, r.kind.value, r.card_id] for r in entry.references],
        "history": [
            [v.digest, v.catalog_version, to_wire_time(v.activated_at)] for v in entry.history
        ],
    }
    return {name: value for name, value in raw.items() if value not in (None, [], False)}


def _entry_from_raw(raw: Mapping[str, Any]) -> CatalogEntry:
    return CatalogEntry(
        state=raw["state"],
        digest=raw.get("digest"),
        source_etag=raw.get("source_etag"),
        serving_digest=raw.get("serving_digest"),
        enabled=raw.get("enabled", False),
        catalog_version=raw.get("catalog_version", 0),
        revision=raw.get("revision", 0),
        errors=_read_problems(raw.get("errors", ())),
        own_warnings=_read_problems(raw.get("own_warnings", ())),
        warnings=_read_problems(raw.get("warnings", ())),
        references=tuple(
            CardReference(path=path, kind=CardKind(kind), card_id=card_id)
            for path, kind, card_id in raw.get("references", ())
        ),
        history=tuple(
            CardVersion(digest=digest, catalog_version=version, activated_at=required_time(at))
            for digest, version, at in raw.get("history", ())
        ),
    )


def _read_problems(raw: Iterable[Mapping[str, str]]) -> tuple[CardProblem, ...]:
    return tuple(CardProblem(path=p["path"], message=p["message"], hint=p["hint"]) for p in raw)


def _to_bytes(raw: Mapping[str, Any]) -> bytes:
    return write_json(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
