"""Writes the status files, which tell authors what became of their cards. Entry point:
`StatusWriter.catch_up`.

Status files are in `aos-config` and are written after the head. A marker in `aos-data` names the
revision up to which they are complete; the next publication writes the missing ones. A writer
reads the head between reading a status and replacing it with If-Match, so an older catalog never
overwrites the status of a newer one.
"""

from __future__ import annotations

from collections.abc import Iterable

from aos.domain.cards.catalog import CardKey, make_status
from aos.domain.cards.catalog_json import (
    head_from_json,
    marker_from_json,
    marker_to_json,
    status_to_json,
)
from aos.errors import StaleWrite, TransientError
from aos.ports.blobs import BlobMissing, BlobStore
from aos.services.catalog import storage
from aos.services.catalog.published_catalog import Snapshot
from aos.services.catalog.storage import for_each

AT_ONCE = 16
BATCH = 64
MAX_ROUNDS = 5
NONE_WRITTEN = -1


class StatusWriter:
    """Brings status files up to the published catalog."""

    def __init__(self, *, config: BlobStore, data: BlobStore) -> None:
        self._config = config
        self._data = data
        self._complete = NONE_WRITTEN

    async def catch_up(self, snapshot: Snapshot, *, new: frozenset[CardKey] = frozenset()) -> bool:
        """Write the status files that differ from this catalog; True when none is left.

        The files of `new` cards are created without reading them first. False when storage was
        away or a newer catalog was published: the next publication continues.
        """
        index = snapshot.index
        if snapshot.digest is None or self._complete == index.revision:
            return True
        try:
            done = await self._read_marker(index.revision)
            if done < index.revision:
                lagging = [k for k, entry in index.entries.items() if entry.revision > done]
                if not await self._write_all(snapshot, lagging, new):
                    return False
                marker = marker_to_json(version=index.version, revision=index.revision)
                await self._data.write(storage.MARKER, marker)
        except TransientError:
            return False
        self._complete = index.revision
        return True

    async def _read_marker(self, published: int) -> int:
        """The revision up to which all is written; a marker from before a reset is ignored."""
        if 0 <= self._complete <= published:
            return self._complete
        try:
            blob = await self._data.read(storage.MARKER)
        except BlobMissing:
            return NONE_WRITTEN
        done = marker_from_json(blob.body)
        return done if done <= published else NONE_WRITTEN

    async def _write_all(
        self, snapshot: Snapshot, keys: list[CardKey], new: frozenset[CardKey]
    ) -> bool:
        for start in range(0, len(keys), BATCH):
            batch, unread = keys[start : start + BATCH], new
            for _ in range(MAX_ROUNDS):
                missed = await self._write_batch(snapshot, batch, unread)
                if missed is None:
                    return False
                if not missed:
                    break
                batch, unread = missed, frozenset()
            else:
                return False
        return True

    async def _write_batch(
        self, snapshot: Snapshot, keys: Iterable[CardKey], new: frozenset[CardKey]
    ) -> list[CardKey] | None:
        """The cards whose file another writer changed; None when a newer catalog is published."""
        etags: dict[CardKey, str | None] = {key: None for key in keys}
        bodies = {key: status_to_json(make_status(snapshot.index.entries[key])) for key in keys}
        missed: list[CardKey] = []

        async def read(key: CardKey) -> None:
            try:
                blob = await self._config.read(storage.status(*key))
            except BlobMissing:
                return
            if blob.body == bodies[key]:
                del etags[key]
            else:
                etags[key] = blob.etag

        async def write(key: CardKey) -> None:
            etag = etags[key]
            try:
                await self._config.write(
                    storage.status(*key), bodies[key], if_match=etag, create_only=etag is None
                )
            except StaleWrite:
                missed.append(key)

        await for_each([key for key in keys if key not in new], read, at_once=AT_ONCE)
        if not await self._is_published(snapshot):
            return None
        await for_each(list(etags), write, at_once=AT_ONCE)
        return missed

    async def _is_published(self, snapshot: Snapshot) -> bool:
        try:
            head = await self._data.read(storage.HEAD)
        except BlobMissing:
            return False
        if head.etag == snapshot.head_etag:
            return True
        return (head_from_json(head.body).index or None) == snapshot.digest
