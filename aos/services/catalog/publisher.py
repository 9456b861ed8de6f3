"""Publishes the card catalog. Entry point: `CatalogPublisher.publish`.

A publication lists `aos-config` completely, checks new cards, and writes card bodies, index, head
(with If-Match) and then the status files. After a crash the old or the new catalog serves, and the
next call finishes. Any number of publishers may run.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aos.domain.cards.assessment import Assessment
from aos.domain.cards.catalog import CardKey, CatalogIndex
from aos.domain.cards.catalog_json import CatalogHead, head_to_json, index_to_json
from aos.domain.cards.check import assess_card, assess_oversized
from aos.domain.cards.identity import MAX_CARD_BYTES, CardKind
from aos.domain.cards.other_cards import ListedServers
from aos.domain.cards.policy import CardPolicy
from aos.domain.cards.publication import (
    CardChange,
    Publication,
    SourceCard,
    find_unassessed,
    plan_publication,
)
from aos.errors import OutcomeUnknown, StaleWrite, TransientError
from aos.ports.blobs import BlobMissing, BlobStore
from aos.ports.system import Clock
from aos.ports.tools import ToolCatalog
from aos.services.catalog import storage
from aos.services.catalog.published_catalog import PublishedCatalog, Snapshot
from aos.services.catalog.status_files import StatusWriter
from aos.services.catalog.storage import for_each

AT_ONCE = 16
MAX_ATTEMPTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishOutcome:
    """What a publication did.

    `published`: this call wrote a new head. `changes`: the cards whose state changed, for events
    and telemetry; when several callers share one listing, one of them gets the changes.
    `statuses_complete` False: the next call writes the missing status files.
    """

    index: CatalogIndex
    digest: str | None
    published: bool = False
    changes: tuple[CardChange, ...] = ()
    statuses_complete: bool = True

    @property
    def version(self) -> int:
        """The catalog version that is published now."""
        return self.index.version


class CatalogPublisher:
    """Publishes the cards of `aos-config`."""

    def __init__(
        self,
        *,
        config: BlobStore,
        data: BlobStore,
        clock: Clock,
        policy: CardPolicy,
        tools: ToolCatalog | None = None,
    ) -> None:
        """`tools`: the lists of the MCP servers, for warnings. Without it nobody is warned of
        tools."""
        self._config = config
        self._data = data
        self._clock = clock
        self._policy = policy
        self._fingerprint = policy.fingerprint()
        self._catalog = PublishedCatalog(data)
        self._statuses = StatusWriter(config=config, data=data)
        self._tools = tools
        self._listed = ListedServers(max_tools=policy.max_tools)
        self._lock = asyncio.Lock()
        self._asked = 0
        self._served = 0
        self._outcome: PublishOutcome | None = None

    async def publish(self) -> PublishOutcome:
        """Publish the cards that are in `aos-config` now.

        Calls that come during a publication share the next one. Raises TransientError when storage
        is away.
        """
        self._asked += 1
        ticket = self._asked
        async with self._lock:
            if self._served >= ticket and self._outcome is not None:
                outcome = self._outcome
                return PublishOutcome(
                    index=outcome.index,
                    digest=outcome.digest,
                    statuses_complete=outcome.statuses_complete,
                )
            serving = self._asked
            self._outcome = await self._publish()
            self._served = serving
            return self._outcome

    async def _publish(self) -> PublishOutcome:
        for _ in range(MAX_ATTEMPTS):
            before = await self._catalog.refresh()
            plan = await self._plan(before)
            if plan.index is None:
                return await self._finish(before, plan)
            after = await self._write(before, plan.index)
            if after is not None:
                return await self._finish(after, plan)
        raise TransientError("other publishers write the catalog at the same time; try again")

    async def read_servers(self) -> ListedServers:
        """What the MCP servers list, by one reading of their table; as last read if it is away."""
        if self._tools is None:
            return self._listed
        try:
            rows = await self._tools.list_servers()
        except TransientError:
            return self._listed
        seen = [row for row in rows if row.has_list]
        self._listed = ListedServers(
            tools={row.server_id: frozenset(tool.name for tool in row.tools) for row in seen},
            offered={row.server_id: frozenset(t.name for t in row.list_offered()) for row in seen},
            max_tools=self._policy.max_tools,
        )
        return self._listed

    async def _plan(self, before: Snapshot) -> Publication:
        listing = await self._list()
        wanted = find_unassessed(before.index, listing, policy=self._fingerprint)
        assessed: dict[CardKey, tuple[str, Assessment]] = {}

        async def assess(source: SourceCard) -> None:
            found = await self._assess(source, before.index)
            if found is not None:
                assessed[source.key] = found

        await for_each(wanted, assess, at_once=min(AT_ONCE, len(wanted)))
        return plan_publication(
            before.index,
            previous_digest=before.digest,
            listing=listing,
            assessed=assessed,
            policy=self._fingerprint,
            now=self._clock.now(),
            servers=await self.read_servers(),
        )

    async def _list(self) -> list[SourceCard]:
        """Every card blob; blobs with other names are ignored."""
        sources: list[SourceCard] = []
        for kind in CardKind:
            for blob in await self._config.list(f"{kind.value}/"):
                card_id = kind.card_id(blob.name)
                if card_id is not None:
                    sources.append(
                        SourceCard(kind=kind, card_id=card_id, etag=blob.etag, size=blob.size)
                    )
        return sources

    async def _assess(
        self, source: SourceCard, index: CatalogIndex
    ) -> tuple[str, Assessment] | None:
        """Check one card, and store its body if it may serve; None when it was deleted."""
        if source.size > MAX_CARD_BYTES:
            return source.etag, assess_oversized(source.size)
        name = source.kind.blob_name(source.card_id)
        try:
            blob = await self._config.read(name, max_bytes=MAX_CARD_BYTES + 1)
        except BlobMissing:
            return None
        if len(blob.body) > MAX_CARD_BYTES:  # it grew after the listing
            return blob.etag, assess_oversized(len(blob.body))
        assessment, raw = assess_card(
            blob.body, kind=source.kind, card_id=source.card_id, policy=self._policy
        )
        if raw is not None and assessment.digest is not None:
            await self._store_body(source.key, assessment.digest, blob.body, index)
        return blob.etag, assessment

    async def _store_body(
        self, key: CardKey, digest: str, body: bytes, index: CatalogIndex
    ) -> None:
        entry = index.entries.get(key)
        if entry is None or all(version.digest != digest for version in entry.history):
            await self._data.write(storage.card_body(digest), body)

    async def _write(self, before: Snapshot, index: CatalogIndex) -> Snapshot | None:
        """Write the index, then the head; None when another publisher was first."""
        digest, body = index_to_json(index)
        await self._data.write(storage.index(digest), body)
        head = CatalogHead(
            version=index.version,
            revision=index.revision,
            index=digest,
            published_at=index.published_at,
            pause=before.pause,
        )
        etag = before.head_etag
        try:
            written = await self._data.write(
                storage.HEAD, head_to_json(head), if_match=etag, create_only=etag is None
            )
        except (StaleWrite, OutcomeUnknown):  # our write may have taken effect
            now = await self._catalog.refresh()
            return now if now.digest == digest else None
        self._catalog.known = Snapshot(
            head_etag=written, digest=digest, index=index, pause=before.pause
        )
        return self._catalog.known

    async def _finish(self, snapshot: Snapshot, plan: Publication) -> PublishOutcome:
        new = frozenset((c.kind, c.card_id) for c in plan.changes if c.before is None)
        complete = await self._statuses.catch_up(snapshot, new=new)
        return PublishOutcome(
            index=snapshot.index,
            digest=snapshot.digest,
            published=plan.index is not None,
            changes=plan.changes,
            statuses_complete=complete,
        )
