"""Holds the published catalog: every card with its state and its versions. Entry points:
`CatalogIndex`, `CatalogEntry`, `make_status`.

`CatalogIndex` is one published catalog. It holds for each card its state, the digest that serves,
and the problems reported to its author. `version` rises when a card's status changes. `revision`
rises with every index, even if only the ETag of an unchanged card is new.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal, TypeAlias

from aos.domain.cards.assessment import CardGrant, CardProblem, CardReference
from aos.domain.cards.identity import CardKind
from aos.domain.codec import encode
from aos.domain.field_types import Digest

CardState: TypeAlias = Literal["active", "rejected", "disabled", "removed"]
CardKey: TypeAlias = tuple[CardKind, str]
"""A card's kind and the id in its file name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardVersion:
    """A card that serves or has served: its digest, its first catalog version, and when it
    began."""

    digest: Digest
    catalog_version: int
    activated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """One card in the catalog.

    `digest` and `source_etag` belong to the last upload; `digest` is None if the file is too large
    to be read. `serving_digest` is the last valid upload, which serves now; `enabled`,
    `has_schedules` and `event_types` (what wakes the agent) and
    `ttl_days` (`memory.ttl_days`) are read from it. `history` lists the
    versions that served, newest first. Its first item serves now, unless the card is removed.
    """

    state: CardState
    digest: str | None = None
    source_etag: str | None = None
    serving_digest: str | None = None
    enabled: bool = False
    catalog_version: int = 0
    revision: int = 0
    errors: tuple[CardProblem, ...] = ()
    own_warnings: tuple[CardProblem, ...] = ()
    references: tuple[CardReference, ...] = ()
    grants: tuple[CardGrant, ...] = ()
    warnings: tuple[CardProblem, ...] = ()
    history: tuple[CardVersion, ...] = ()
    has_schedules: bool = False
    event_types: tuple[str, ...] = ()
    ttl_days: int | None = None

    @property
    def activated_at(self) -> datetime | None:
        """When the serving version began to serve."""
        return self.history[0].activated_at if self.serving_digest else None

    @property
    def has_grants(self) -> bool:
        """Whether `grants` is known; entries of before it existed name servers only."""
        return bool(self.grants) or all(r.kind is CardKind.AGENT for r in self.references)

    @property
    def can_run(self) -> bool:
        """Whether a version serves and is enabled."""
        return self.serving_digest is not None and self.enabled


@dataclass(frozen=True, slots=True, kw_only=True)
class CardStatus:
    """The status of an upload."""

    state: CardState
    digest: Digest | None
    source_etag: str | None
    catalog_version: int
    activated_at: datetime | None
    errors: tuple[CardProblem, ...]
    warnings: tuple[CardProblem, ...]
    serving_digest: Digest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogIndex:
    """A published catalog. `previous` is the digest of the index before it, so that the indexes
    form a hash chain."""

    version: int = 0
    revision: int = 0
    previous: str | None = None
    policy: str = ""
    published_at: datetime | None = None
    entries: Mapping[CardKey, CatalogEntry] = field(default_factory=dict)

    def entry(self, kind: CardKind, card_id: str) -> CatalogEntry | None:
        """Return the card's entry in any state (active, rejected, disabled, removed), or None."""
        return self.entries.get((kind, card_id))

    def list_kind(self, kind: CardKind) -> Iterator[tuple[str, CatalogEntry]]:
        """List the entries of one kind, ordered by id."""
        found = [(card_id, e) for (k, card_id), e in self.entries.items() if k is kind]
        return iter(sorted(found))


EMPTY_CATALOG = CatalogIndex()


def make_status(entry: CatalogEntry) -> dict[str, Any]:
    """Build the content of a card's status file."""
    status = CardStatus(**{field.name: getattr(entry, field.name) for field in fields(CardStatus)})
    return encode(status)
