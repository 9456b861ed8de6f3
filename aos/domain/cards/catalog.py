"""What is published, and what follows from a listing of `aos-config`?

`CatalogIndex` is one published catalog: for every card its state, the digest that serves, and
what its author is told. `plan_publication` is the pure step from one index to the next. Two
numbers count: `version` rises when anything is said anew about a card, `revision` with every
index, also when only the ETag of an unchanged card is new.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias

from aos.domain.cards.assessment import Assessment, CardProblem, CardReference
from aos.domain.cards.identity import CardKind
from aos.domain.wire_time import to_wire_time

CardState: TypeAlias = Literal["active", "rejected", "disabled", "removed"]
CardKey: TypeAlias = tuple[CardKind, str]
"""A card's kind and the id that its file's name claims."""

MAX_HISTORY = 20
MAX_REMOVED = 10_000
NOT_UPLOADED = "not uploaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class CardVersion:
    """A card that served, or serves: its digest, since which catalog version, and when."""

    digest: str
    catalog_version: int
    activated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """One card, as the catalog has it.

    `digest` and `source_etag` are those of the last upload (digest None: too large to be read);
    `serving_digest` is what works now, the last good one, and `enabled` what that one says.
    `history` holds what served, newest first; the first is what serves, unless removed.
    """

    state: CardState
    digest: str | None
    source_etag: str | None
    serving_digest: str | None = None
    enabled: bool = False
    catalog_version: int = 0
    revision: int = 0
    errors: tuple[CardProblem, ...] = ()
    own_warnings: tuple[CardProblem, ...] = ()
    references: tuple[CardReference, ...] = ()
    warnings: tuple[CardProblem, ...] = ()
    history: tuple[CardVersion, ...] = ()

    @property
    def activated_at(self) -> datetime | None:
        """Since when the serving card serves."""
        return self.history[0].activated_at if self.serving_digest else None

    @property
    def runs(self) -> bool:
        """Is it serving and enabled?"""
        return self.serving_digest is not None and self.enabled


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogIndex:
    """A published catalog. `previous` is the digest of the index before: a hash chain."""

    version: int = 0
    revision: int = 0
    previous: str | None = None
    policy: str = ""
    published_at: datetime | None = None
    entries: Mapping[CardKey, CatalogEntry] = field(default_factory=dict)

    def entry(self, kind: CardKind, card_id: str) -> CatalogEntry | None:
        """The card, be it active, rejected, disabled or removed."""
        return self.entries.get((kind, card_id))

    def of_kind(self, kind: CardKind) -> Iterator[tuple[str, CatalogEntry]]:
        """Every card of a kind, by id."""
        found = [(card_id, e) for (k, card_id), e in self.entries.items() if k is kind]
        return iter(sorted(found))


EMPTY_CATALOG = CatalogIndex()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCard:
    """One card blob as listed in `aos-config`."""

    kind: CardKind
    card_id: str
    etag: str
    size: int

    @property
    def key(self) -> CardKey:
        """Its place in the catalog."""
        return (self.kind, self.card_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardChange:
    """How one card differs between two catalogs."""

    kind: CardKind
    card_id: str
    before: CatalogEntry | None
    after: CatalogEntry
    purpose: str = ""
    """What the agent is for, where its card was judged for this catalog."""

    @property
    def serves_anew(self) -> bool:
        """Does another card serve than before?"""
        before = self.before.serving_digest if self.before else None
        return self.after.serving_digest != before

    @property
    def started(self) -> bool:
        """May it run now, and might not before (`AgentInitialized`)?"""
        return self.after.runs and not (self.before is not None and self.before.runs)

    @property
    def stopped(self) -> bool:
        """Might it run before, and may not now (`AgentStopped`)?"""
        return self.before is not None and self.before.runs and not self.after.runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """The next index, and what changes with it; `index` None: there is nothing to publish."""

    index: CatalogIndex | None
    changes: tuple[CardChange, ...] = ()


def to_assess(
    index: CatalogIndex, listing: Iterable[SourceCard], *, policy: str
) -> list[SourceCard]:
    """The cards whose upload has not been judged yet, or was judged by another policy."""
    if index.policy != policy:
        return list(listing)
    known = index.entries
    return [
        source
        for source in listing
        if source.key not in known or known[source.key].source_etag != source.etag
    ]


def plan_publication(
    previous: CatalogIndex,
    *,
    previous_digest: str | None,
    listing: Iterable[SourceCard],
    assessed: Mapping[CardKey, tuple[str, Assessment]],
    policy: str,
    now: datetime,
) -> Publication:
    """The catalog that follows from a complete listing.

    `assessed` holds ETag and verdict of the cards that were read; a listed card that is neither
    there nor known vanished while it was read, and waits for the next listing. A card that was
    rejected leaves its predecessor serving; a card that is not listed is removed.
    """
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)  # what the index can hold
    version, revision = previous.version + 1, previous.revision + 1
    entries = dict(previous.entries)
    listed = {source.key for source in listing}
    for key, (etag, assessment) in assessed.items():
        entries[key] = _assessed(entries.get(key), etag, assessment, version=version, now=now)
    for key, entry in previous.entries.items():
        if key not in listed and key not in assessed and entry.state != "removed":
            entries[key] = _removed(entry)
    entries = {key: _warned(entry, entries) for key, entry in entries.items()}
    touched = [key for key in entries if entries[key] != previous.entries.get(key)]
    said_anew = [key for key in touched if _says_anew(previous.entries.get(key), entries[key])]
    if not touched and policy == previous.policy:
        return Publication(index=None)
    for key in touched:
        entries[key] = replace(
            entries[key],
            revision=revision,
            catalog_version=version if key in said_anew else entries[key].catalog_version,
        )
    index = CatalogIndex(
        version=version if said_anew else previous.version,
        revision=revision,
        previous=previous_digest,
        policy=policy,
        published_at=now,
        entries=_without_oldest_removed(entries),
    )
    changes = _changes(previous, entries, said_anew, assessed)
    return Publication(index=index, changes=changes)


def status_if_uploaded(
    index: CatalogIndex, key: CardKey, assessment: Assessment, *, now: datetime
) -> dict[str, Any]:
    """The status that a card would get if it were uploaded now."""
    plan = plan_publication(
        index,
        previous_digest=None,
        listing=[
            SourceCard(kind=kind, card_id=card_id, etag=entry.source_etag, size=0)
            for (kind, card_id), entry in index.entries.items()
            if entry.source_etag is not None
        ],
        assessed={key: (NOT_UPLOADED, assessment)},
        policy=index.policy,
        now=now,
    )
    assert plan.index is not None
    return status_of(plan.index.entries[key]) | {"source_etag": None}


def status_of(entry: CatalogEntry) -> dict[str, Any]:
    """The status file of a card."""
    return {
        "state": entry.state,
        "digest": entry.digest,
        "source_etag": entry.source_etag,
        "catalog_version": entry.catalog_version,
        "activated_at": to_wire_time(entry.activated_at),
        "errors": [problem.to_dict() for problem in entry.errors],
        "warnings": [problem.to_dict() for problem in entry.warnings],
        "serving_digest": entry.serving_digest,
    }


def _assessed(
    before: CatalogEntry | None, etag: str, found: Assessment, *, version: int, now: datetime
) -> CatalogEntry:
    """The entry after an upload was judged."""
    entry = before or CatalogEntry(state="rejected", digest=None, source_etag=None)
    upload = replace(
        entry,
        digest=found.digest,
        source_etag=etag,
        errors=found.errors,
        own_warnings=found.warnings,
        references=found.references,
    )
    if found.errors or found.digest is None:
        return replace(upload, state="rejected")
    history = entry.history
    if found.digest != entry.serving_digest:
        served = CardVersion(digest=found.digest, catalog_version=version, activated_at=now)
        history = (served, *history)[:MAX_HISTORY]
    return replace(
        upload,
        state="active" if found.enabled else "disabled",
        serving_digest=found.digest,
        enabled=found.enabled,
        history=history,
    )


def _removed(entry: CatalogEntry) -> CatalogEntry:
    return CatalogEntry(
        state="removed",
        digest=entry.digest,
        source_etag=None,
        catalog_version=entry.catalog_version,
        history=entry.history,
    )


def _warned(entry: CatalogEntry, entries: Mapping[CardKey, CatalogEntry]) -> CatalogEntry:
    """The entry with a warning for each card that it names and that does not serve (yet)."""
    missing = [r for r in entry.references if not _serves(entries.get((r.kind, r.card_id)))]
    warnings = (*entry.own_warnings, *(_missing_card(reference) for reference in missing))
    return entry if warnings == entry.warnings else replace(entry, warnings=warnings)


def _serves(entry: CatalogEntry | None) -> bool:
    return entry is not None and entry.serving_digest is not None


def _missing_card(reference: CardReference) -> CardProblem:
    what = "MCP server" if reference.kind is CardKind.MCP_SERVER else "agent"
    return CardProblem(
        path=reference.path,
        message=f"the {what} {reference.card_id!r} does not exist (yet)",
        hint=f"upload {reference.kind.blob_name(reference.card_id)}, or correct the name",
    )


def _says_anew(before: CatalogEntry | None, after: CatalogEntry) -> bool:
    """Is more new than the upload's ETag?"""
    return before is None or replace(after, source_etag=before.source_etag) != before


def _changes(
    previous: CatalogIndex,
    entries: Mapping[CardKey, CatalogEntry],
    keys: Iterable[CardKey],
    assessed: Mapping[CardKey, tuple[str, Assessment]],
) -> tuple[CardChange, ...]:
    return tuple(
        CardChange(
            kind=key[0],
            card_id=key[1],
            before=previous.entries.get(key),
            after=entries[key],
            purpose=assessed[key][1].purpose if key in assessed else "",
        )
        for key in sorted(keys)
    )


def _without_oldest_removed(
    entries: Mapping[CardKey, CatalogEntry],
) -> Mapping[CardKey, CatalogEntry]:
    """The entries, with at most `MAX_REMOVED` removed cards remembered."""
    removed = sorted((e.revision, k) for k, e in entries.items() if e.state == "removed")
    forgotten = {key for _, key in removed[: max(0, len(removed) - MAX_REMOVED)]}
    return {key: entry for key, entry in entries.items() if key not in forgotten}
