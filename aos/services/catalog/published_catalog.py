"""Reads the published catalog: the head, and the index when it has changed. Entry point:
`PublishedCatalog.refresh`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from aos.domain.cards.catalog import EMPTY_CATALOG, CatalogIndex
from aos.domain.cards.catalog_json import head_from_json, index_from_json
from aos.domain.pause import Pause
from aos.errors import AosError
from aos.ports.blobs import Blob, BlobMissing, BlobStore, Unchanged
from aos.services.catalog import storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A catalog as read, with the head's ETag, the index's digest, and the pause in the head.

    ETag and digest are None when nothing is published.
    """

    head_etag: str | None
    digest: str | None
    index: CatalogIndex
    pause: Pause | None = None


NOTHING_PUBLISHED = Snapshot(head_etag=None, digest=None, index=EMPTY_CATALOG)


class PublishedCatalog:
    """The last snapshot read from `aos-data`; None before the first reading."""

    def __init__(self, data: BlobStore) -> None:
        self._data = data
        self.known: Snapshot | None = None

    async def refresh(self) -> Snapshot:
        """Read the head, and the index if the head names another one.

        Raises TransientError when storage is away.
        """
        known = self.known
        try:
            head = await self._read_head(known)
        except BlobMissing:
            self.known = NOTHING_PUBLISHED
            return NOTHING_PUBLISHED
        if isinstance(head, Snapshot):
            return head
        found = head_from_json(head.body)
        digest = found.index or None
        if digest is None:
            index = EMPTY_CATALOG
        elif known is not None and known.digest == digest:
            index = known.index
        else:
            index = await self._read_index(digest)
        self.known = Snapshot(head_etag=head.etag, digest=digest, index=index, pause=found.pause)
        return self.known

    async def _read_head(self, known: Snapshot | None) -> Blob | Snapshot:
        """The head's blob, or `known` when the head has not changed. Raises BlobMissing."""
        if known is None or known.head_etag is None:
            return await self._data.read(storage.HEAD)
        head = await self._data.read_if_changed(storage.HEAD, etag=known.head_etag)
        return known if isinstance(head, Unchanged) else head

    async def _read_index(self, digest: str) -> CatalogIndex:
        try:
            blob = await self._data.read(storage.index(digest))
        except BlobMissing as error:
            raise _catalog_error(digest, "is missing") from error
        if hashlib.sha256(blob.body).hexdigest() != digest:
            raise _catalog_error(digest, "does not have the content of its name")
        return index_from_json(blob.body)


def _catalog_error(digest: str, what: str) -> AosError:
    return AosError(
        "internal_error",
        f"the published catalog index {digest!r} {what}; delete {storage.HEAD!r} in aos-data to"
        " have the catalog published anew",
    )
