"""Which catalog is published now?

`PublishedCatalog` reads head and index, and reads again only what has changed. Publisher and
reader both build on it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from aos.domain.cards.catalog import EMPTY_CATALOG, CatalogIndex
from aos.domain.cards.catalog_json import head_from_json, index_from_json
from aos.errors import AosError
from aos.ports.blobs import Blob, BlobMissing, BlobStore, Unchanged
from aos.services.catalog import layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A catalog as read: the head's ETag and the index's digest; both None before the first."""

    head_etag: str | None
    digest: str | None
    index: CatalogIndex


NOTHING_PUBLISHED = Snapshot(head_etag=None, digest=None, index=EMPTY_CATALOG)


class PublishedCatalog:
    """The last snapshot read from `aos-data`; None before the first reading."""

    def __init__(self, data: BlobStore) -> None:
        self._data = data
        self.known: Snapshot | None = None

    async def refresh(self) -> Snapshot:
        """Check the head, and read the index if it names another one. TransientError: away."""
        known = self.known
        try:
            head = await self._read_head(known)
        except BlobMissing:
            self.known = NOTHING_PUBLISHED
            return NOTHING_PUBLISHED
        if isinstance(head, Snapshot):
            return head
        digest = head_from_json(head.body).index
        if known is not None and known.digest == digest:
            index = known.index
        else:
            index = await self._read_index(digest)
        self.known = Snapshot(head_etag=head.etag, digest=digest, index=index)
        return self.known

    async def _read_head(self, known: Snapshot | None) -> Blob | Snapshot:
        """The head's blob, or `known` while the head is at its ETag. Raises BlobMissing."""
        if known is None or known.head_etag is None:
            return await self._data.read(layout.HEAD)
        head = await self._data.read_if_changed(layout.HEAD, etag=known.head_etag)
        return known if isinstance(head, Unchanged) else head

    async def _read_index(self, digest: str) -> CatalogIndex:
        try:
            blob = await self._data.read(layout.index(digest))
        except BlobMissing as error:
            raise _broken(digest, "is missing") from error
        if hashlib.sha256(blob.body).hexdigest() != digest:
            raise _broken(digest, "is not what its name says")
        return index_from_json(blob.body)


def _broken(digest: str, what: str) -> AosError:
    return AosError(
        "internal_error",
        f"the published catalog index {digest!r} {what}; delete {layout.HEAD!r} in aos-data to"
        " have the catalog published anew",
    )
