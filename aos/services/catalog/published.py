"""Which catalog is published now?

`PublishedCatalog` reads head and index, and reads again only what has changed. Publisher and
reader both build on it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from aos.domain.catalog import EMPTY_CATALOG, CatalogIndex
from aos.domain.catalog_json import head_from_json, index_from_json
from aos.errors import AosError
from aos.ports import BlobStore
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
            head = await self._data.read(
                layout.HEAD, if_none_match=known.head_etag if known else None
            )
        except KeyError:
            self.known = NOTHING_PUBLISHED
            return NOTHING_PUBLISHED
        if head is None and known is not None:
            return known
        assert head is not None
        digest = head_from_json(head.body).index
        if known is not None and known.digest == digest:
            index = known.index
        else:
            index = await self._read_index(digest)
        self.known = Snapshot(head_etag=head.etag, digest=digest, index=index)
        return self.known

    async def _read_index(self, digest: str) -> CatalogIndex:
        try:
            blob = await self._data.read(layout.index(digest))
        except KeyError as error:
            raise _broken(digest, "is missing") from error
        assert blob is not None
        if hashlib.sha256(blob.body).hexdigest() != digest:
            raise _broken(digest, "is not what its name says")
        return index_from_json(blob.body)


def _broken(digest: str, what: str) -> AosError:
    return AosError(
        "internal_error",
        f"the published catalog index {digest!r} {what}; delete {layout.HEAD!r} in aos-data to"
        " have the catalog published anew",
    )
