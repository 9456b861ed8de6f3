"""Checks card files on disk with the rules and texts of the status files. Entry point:
`validate_path`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aos.domain.cards.assessment import Assessment
from aos.domain.cards.catalog import EMPTY_CATALOG, CardKey, make_status
from aos.domain.cards.check import assess_card, assess_oversized
from aos.domain.cards.identity import MAX_CARD_BYTES, CardKind
from aos.domain.cards.policy import CardPolicy
from aos.domain.cards.publication import SourceCard, plan_publication

_NEVER = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """One card file, and the status that it would get in an empty catalog."""

    path: Path
    kind: CardKind
    card_id: str
    status: Mapping[str, Any]

    @property
    def is_valid(self) -> bool:
        """True when the card may be published."""
        return not self.status["errors"]


def validate_path(path: Path, *, policy: CardPolicy | None = None) -> list[FileReport]:
    """Check a file, or every `.json` file under a folder, by name.

    A file is an MCP server's card if a folder above it is called `mcp-servers`, or, outside of
    `agents` and `mcp-servers`, if it contains `server_id`. Raises OSError.
    """
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    rules = policy or CardPolicy()
    found = [(file, *_assess(file, rules)) for file in files]
    reports: list[FileReport] = []
    while found:
        round_, found = _split_by_id(found)
        reports += _make_reports(round_)
    return sorted(reports, key=lambda report: report.path)


_Found = tuple[Path, CardKey, Assessment]


def _assess(file: Path, policy: CardPolicy) -> tuple[CardKey, Assessment]:
    with file.open("rb") as stream:
        body = stream.read(MAX_CARD_BYTES + 1)
    kind, card_id = _find_key(file, body)
    if len(body) > MAX_CARD_BYTES:
        return (kind, card_id), assess_oversized(file.stat().st_size)
    return (kind, card_id), assess_card(body, kind=kind, card_id=card_id, policy=policy)[0]


def _find_key(file: Path, body: bytes) -> CardKey:
    folders = file.absolute().parts[:-1]
    for kind in CardKind:
        if kind.value in folders:
            depth = len(folders) - folders[::-1].index(kind.value)
            inside = "/".join(file.absolute().parts[depth:])
            return kind, inside.removesuffix(".json")
    kind = CardKind.MCP_SERVER if b'"server_id"' in body else CardKind.AGENT
    return kind, file.name.removesuffix(".json")


def _split_by_id(found: list[_Found]) -> tuple[dict[CardKey, _Found], list[_Found]]:
    """The first file of each id, and the rest: two files may have the same id."""
    first: dict[CardKey, _Found] = {}
    rest: list[_Found] = []
    for item in found:
        if item[1] in first:
            rest.append(item)
        else:
            first[item[1]] = item
    return first, rest


def _make_reports(found: Mapping[CardKey, _Found]) -> list[FileReport]:
    plan = plan_publication(
        EMPTY_CATALOG,
        previous_digest=None,
        listing=[SourceCard(kind=k, card_id=i, etag="", size=0) for k, i in found],
        assessed={key: ("", assessment) for key, (_, _, assessment) in found.items()},
        policy="",
        now=_NEVER,
    )
    index = plan.index or EMPTY_CATALOG
    return [
        FileReport(path=file, kind=kind, card_id=card_id, status=_make_status(index.entries[key]))
        for key, (file, _, _) in found.items()
        for kind, card_id in [key]
    ]


def _make_status(entry: Any) -> dict[str, Any]:
    """The status without the fields that only an upload has."""
    status = make_status(entry)
    for name in ("source_etag", "catalog_version", "activated_at"):
        status[name] = None
    return status
