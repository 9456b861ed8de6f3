"""Plans the next catalog from a listing of `aos-config`. Entry points: `plan_publication`,
`predict_status`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from aos.domain.cards.assessment import Assessment
from aos.domain.cards.catalog import (
    CardKey,
    CardVersion,
    CatalogEntry,
    CatalogIndex,
    make_status,
)
from aos.domain.cards.effects import TEAM
from aos.domain.cards.identity import CardKind
from aos.domain.cards.other_cards import (
    NOTHING_LISTED,
    CardUse,
    ListedServers,
    warn_of_references,
    warn_of_tools,
)

MAX_HISTORY = 20
MAX_REMOVED = 10_000
MAX_WARNINGS = 40
NOT_UPLOADED = "not uploaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCard:
    """One card blob in a listing of `aos-config`."""

    kind: CardKind
    card_id: str
    etag: str
    size: int

    @property
    def key(self) -> CardKey:
        """The card's key in the catalog."""
        return (self.kind, self.card_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardChange:
    """The difference of one card between two catalogs."""

    kind: CardKind
    card_id: str
    before: CatalogEntry | None
    after: CatalogEntry
    purpose: str = ""
    """The agent's purpose, if its card was assessed for this catalog."""

    @property
    def has_new_version(self) -> bool:
        """Whether another version serves than before."""
        before = self.before.serving_digest if self.before else None
        return self.after.serving_digest != before

    @property
    def has_started(self) -> bool:
        """Whether the card may run now and might not run before (event `AgentInitialized`)."""
        return self.after.can_run and not (self.before is not None and self.before.can_run)

    @property
    def has_stopped(self) -> bool:
        """Whether the card might run before and may not run now (event `AgentStopped`)."""
        return self.before is not None and self.before.can_run and not self.after.can_run


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """The next index and the changes in it. `index` is None if nothing is to be published."""

    index: CatalogIndex | None
    changes: tuple[CardChange, ...] = ()


def find_unassessed(
    index: CatalogIndex, listing: Iterable[SourceCard], *, policy: str
) -> list[SourceCard]:
    """List the cards whose upload has not been assessed yet, or was assessed by another policy."""
    if index.policy != policy:
        return list(listing)
    known = index.entries
    return [
        source
        for source in listing
        if source.key not in known
        or known[source.key].source_etag != source.etag
        or not known[source.key].has_grants
    ]


def plan_publication(
    previous: CatalogIndex,
    *,
    previous_digest: str | None,
    listing: Iterable[SourceCard],
    assessed: Mapping[CardKey, tuple[str, Assessment]],
    policy: str,
    now: datetime,
    servers: ListedServers = NOTHING_LISTED,
) -> Publication:
    """Compute the catalog that follows from a complete listing.

    `assessed` holds the ETag and the assessment of each card that was read. A listed card that is
    neither in `assessed` nor known was deleted while it was read; the next listing decides about
    it. After a rejected upload the previous version keeps serving. A card that is not listed is
    removed. `servers` is what the MCP servers list.
    """
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)  # the index stores milliseconds
    version, revision = previous.version + 1, previous.revision + 1
    entries = dict(previous.entries)
    listed = {source.key for source in listing}
    for key, (etag, assessment) in assessed.items():
        entries[key] = _apply_assessment(
            entries.get(key), etag, assessment, version=version, now=now
        )
    for key, entry in previous.entries.items():
        if key not in listed and key not in assessed and entry.state != "removed":
            entries[key] = _mark_removed(entry)
    entries = {key: _add_warnings(entry, entries, servers) for key, entry in entries.items()}
    touched = [key for key in entries if entries[key] != previous.entries.get(key)]
    said_anew = [key for key in touched if _is_news(previous.entries.get(key), entries[key])]
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
        entries=_drop_oldest_removed(entries),
    )
    changes = _list_changes(previous, entries, said_anew, assessed)
    return Publication(index=index, changes=changes)


def predict_status(
    index: CatalogIndex,
    key: CardKey,
    assessment: Assessment,
    *,
    now: datetime,
    servers: ListedServers = NOTHING_LISTED,
) -> dict[str, Any]:
    """Compute the status that a card would get if it were uploaded now."""
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
        servers=servers,
    )
    assert plan.index is not None
    return make_status(plan.index.entries[key]) | {"source_etag": None}


def _apply_assessment(
    before: CatalogEntry | None, etag: str, found: Assessment, *, version: int, now: datetime
) -> CatalogEntry:
    """Return the entry after an upload was assessed."""
    entry = before or CatalogEntry(state="rejected", digest=None, source_etag=None)
    upload = replace(
        entry,
        digest=found.digest,
        source_etag=etag,
        errors=found.errors,
        own_warnings=found.warnings,
        references=found.references,
        grants=found.grants,
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
        ttl_days=found.ttl_days,
        history=history,
        has_schedules=found.has_schedules,
        event_types=found.event_types,
    )


def _mark_removed(entry: CatalogEntry) -> CatalogEntry:
    return CatalogEntry(
        state="removed",
        digest=entry.digest,
        source_etag=None,
        catalog_version=entry.catalog_version,
        history=entry.history,
    )


def _add_warnings(
    entry: CatalogEntry, entries: Mapping[CardKey, CatalogEntry], servers: ListedServers
) -> CatalogEntry:
    """Return the entry with its own warnings, and those that follow from other cards and from what
    the MCP servers list."""
    warnings = (
        *entry.own_warnings,
        *warn_of_references(entry.references, lambda kind, name: _find_use(entries, kind, name)),
        *warn_of_tools(entry.grants, servers, is_delegating=_is_delegating(entry)),
    )[:MAX_WARNINGS]
    return entry if warnings == entry.warnings else replace(entry, warnings=warnings)


def _find_use(entries: Mapping[CardKey, CatalogEntry], kind: CardKind, card_id: str) -> CardUse:
    entry = entries.get((kind, card_id))
    if entry is None or entry.serving_digest is None:
        return "missing"
    return "serving" if entry.enabled else "disabled"


def _is_delegating(entry: CatalogEntry) -> bool:
    """Whether the agent has a team to which its type lets it delegate."""
    has_team = any(reference.kind is CardKind.AGENT for reference in entry.references)
    return has_team and all(warning.path != TEAM for warning in entry.own_warnings)


def _is_news(before: CatalogEntry | None, after: CatalogEntry) -> bool:
    """Whether more has changed than the ETag of the upload."""
    return before is None or replace(after, source_etag=before.source_etag) != before


def _list_changes(
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


def _drop_oldest_removed(
    entries: Mapping[CardKey, CatalogEntry],
) -> Mapping[CardKey, CatalogEntry]:
    """Keep at most `MAX_REMOVED` removed cards; drop the oldest."""
    removed = sorted((e.revision, k) for k, e in entries.items() if e.state == "removed")
    forgotten = {key for _, key in removed[: max(0, len(removed) - MAX_REMOVED)]}
    return {key: entry for key, entry in entries.items() if key not in forgotten}
