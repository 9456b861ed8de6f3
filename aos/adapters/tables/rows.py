"""Writes documents as rows of a table and reads them. Entry points: `pack`, `document`.

A row holds its document as JSON, in the properties `doc`, `doc1`, … of at most 30,000 UTF-16 units
each (a property holds 32 Ki), and `schema`, the version of its form. Texts over 32 KiB, and free
fields over 32 KiB as JSON, are stored outside: `spilled`, `spilled1`, … list their places and the
SHA-256 under which `aos.adapters.tables.payloads` keeps them. If the rows of a step are still too
large for one transaction, smaller texts are stored outside too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from aos.domain.json_writer import write_json
from aos.errors import AosError, TransientError

SCHEMA = 1
READABLE = (SCHEMA - 1, SCHEMA)
"""The row versions that this version of AOS reads: its own and the previous one. It waits with rows
of a newer version, which a rollback may meet."""

SPILL_BYTES = (32 * 1024, 8 * 1024, 2 * 1024, 512)
"""The largest text in a row, in UTF-8 bytes. Smaller limits are used only if a step is too
large."""
ROW_BYTES = 400_000
"""The most UTF-8 bytes of a row: below the 1 MiB that an entity may have in UTF-16."""
SPILLED = ("spilled", *(f"spilled{number}" for number in range(1, ROW_BYTES // 15_000 + 1)))
"""The properties that may list payloads, for queries that choose them."""
STEP_BYTES = 440_000
"""The most UTF-8 bytes of a transaction: at three bytes each on the wire, less than 1.5 MB."""
FREE_FIELDS = frozenset(
    {
        *("metadata", "details", "output_parts", "arguments", "parts"),
        *("requested_schema", "values", "options"),
    }
)
"""Fields that hold JSON from outside; they are stored outside the row as a whole. So many small
values in one of them do not fill the row."""

Path: TypeAlias = tuple[str | int, ...]
Kind: TypeAlias = Literal["text", "json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spilled:
    """A value that is kept as a payload: its place in the document, its digest, its form."""

    path: Path
    digest: str
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedRow:
    """A document ready for its row: the JSON in the row, and the payloads."""

    text: str
    size: int
    spilled: tuple[Spilled, ...] = ()
    payloads: Mapping[str, bytes] = field(default_factory=dict)

    def entity(self, partition: str, row: str) -> dict[str, Any]:
        """Return the row in the SDK's form."""
        entity: dict[str, Any] = {"PartitionKey": partition, "RowKey": row, "schema": SCHEMA}
        entity |= _cut("doc", self.text)
        if self.spilled:
            entity |= _cut("spilled", _write_spilled(self.spilled))
        return entity


def pack(documents: Sequence[dict[str, Any]]) -> list[PackedRow]:
    """Pack the documents as rows that fit into one transaction together."""
    for limit in SPILL_BYTES:
        packed = [_pack(document, limit) for document in documents]
        sizes = [row.size for row in packed]
        if max(sizes) <= ROW_BYTES and sum(sizes) <= STEP_BYTES:
            return packed
    raise AosError(
        "internal_error",
        f"{len(documents)} rows of {sum(sizes)} bytes do not fit one transaction; the limits on"
        " ids and queued runs should keep them smaller",
    )


def check_schema(entity: Mapping[str, Any]) -> None:
    """Raise TransientError for a row that only a newer version can read."""
    if entity.get("schema") not in READABLE:
        raise TransientError(
            f"row {entity.get('RowKey')!r} of {entity.get('PartitionKey')!r} has schema version"
            f" {entity.get('schema')!r}; this version of AOS reads {READABLE}: deploy the version"
            " that wrote it, or a later one"
        )


def document(entity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON document of a row, with None in the place of each payload."""
    read: dict[str, Any] = json.loads(_join(entity, "doc"))
    return read


def list_spilled(entity: Mapping[str, Any]) -> tuple[Spilled, ...]:
    """List the payloads of a row."""
    text = _join(entity, "spilled")
    if not text:
        return ()
    return tuple(
        Spilled(path=tuple(path), digest=digest, kind=kind)
        for path, digest, kind in json.loads(text)
    )


def restore(target: dict[str, Any], spilled: Spilled, body: bytes) -> None:
    """Put a payload back into its place in the document."""
    text = body.decode("utf-8", "surrogatepass")
    *way, last = spilled.path
    place: Any = target
    for step in way:
        place = place[step]
    place[last] = text if spilled.kind == "text" else json.loads(text)


def _pack(document: dict[str, Any], limit: int) -> PackedRow:
    text, size = _measure(document)
    if size <= limit:  # then no text in it is larger
        return PackedRow(text=text, size=size)
    spill = _Spill(limit)
    text, size = _measure(spill.without(document, ()))
    return PackedRow(
        text=text,
        size=size + (len(_write_spilled(spill.spilled)) if spill.spilled else 0),
        spilled=tuple(spill.spilled),
        payloads=dict(spill.payloads),
    )


def _write_spilled(spilled: Sequence[Spilled]) -> str:
    return _write_json([[list(s.path), s.digest, s.kind] for s in spilled])


class _Spill:
    """Takes the large values out of one document."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.spilled: list[Spilled] = []
        self.payloads: dict[str, bytes] = {}

    def without(self, node: Any, path: Path) -> Any:
        """Return the node as it is stored in the row."""
        if isinstance(node, str):
            return self._keep(node, node, path, kind="text")
        if isinstance(node, list):
            return [self.without(item, (*path, number)) for number, item in enumerate(node)]
        if isinstance(node, dict):
            return {name: self._field(name, value, path) for name, value in node.items()}
        return node

    def _field(self, name: str, value: Any, path: Path) -> Any:
        if name in FREE_FIELDS and value:
            return self._keep(value, _write_json(value), (*path, name), kind="json")
        return self.without(value, (*path, name))

    def _keep(self, value: Any, text: str, path: Path, *, kind: Kind) -> Any:
        """Return a small value unchanged; for a large one store its text as a payload and return
        None."""
        if len(text) * 4 <= self._limit:
            return value
        body = text.encode("utf-8", "surrogatepass")
        if len(body) <= self._limit:
            return value
        digest = hashlib.sha256(body).hexdigest()
        self.spilled.append(Spilled(path=path, digest=digest, kind=kind))
        self.payloads[digest] = body
        return None


def _measure(value: Any) -> tuple[str, int]:
    """Return the JSON of a value and its size in UTF-8 bytes; lone surrogates are escaped."""
    text = _write_json(value)
    try:
        return text, len(text.encode())
    except UnicodeEncodeError:
        text = write_json(value, separators=(",", ":"))
        return text, len(text)


def _write_json(value: Any) -> str:
    return write_json(value, ensure_ascii=False, separators=(",", ":"))


def _cut(name: str, text: str) -> dict[str, str]:
    """Return the text as properties `name`, `name1`, …, each within the service's limit."""
    # in code points, each of which takes up to two units
    step = 30_000 if text.isascii() else 15_000
    starts = range(0, len(text), step)
    return {_name_chunk(name, n): text[at : at + step] for n, at in enumerate(starts)}


def _join(entity: Mapping[str, Any], name: str) -> str:
    parts: list[str] = []
    while (part := entity.get(_name_chunk(name, len(parts)))) is not None:
        parts.append(part)
    return "".join(parts)


def _name_chunk(name: str, number: int) -> str:
    return f"{name}{number or ''}"
