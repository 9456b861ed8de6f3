"""Gives services one blob container. Entry point: `BlobStore`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobInfo:
    """One row of a listing: the name inside the container, its ETag, size in bytes, time."""

    name: str
    etag: str
    size: int
    last_modified: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A blob's body with the ETag it was read at."""

    name: str
    etag: str
    body: bytes


class BlobMissing(KeyError):
    """There is no blob of this name."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The blob still has the ETag that the caller knows."""


class BlobStore(Protocol):
    """One blob container."""

    async def list(self, prefix: str) -> list[BlobInfo]:
        """Every blob whose name begins with `prefix`, complete, by name."""
        ...

    async def read(self, name: str, *, max_bytes: int | None = None) -> Blob:
        """The blob; with `max_bytes` only that many leading bytes of it. Raises BlobMissing."""
        ...

    async def read_if_changed(self, name: str, *, etag: str) -> Blob | Unchanged:
        """The blob, or Unchanged while it is at `etag`. Raises BlobMissing."""
        ...

    async def write(
        self, name: str, body: bytes, *, if_match: str | None = None, create_only: bool = False
    ) -> str:
        """Write the whole blob and return its new ETag.

        Raises StaleWrite when `if_match` is not the current ETag, or when `create_only` and the
        blob exists.
        """
        ...

    async def delete(self, name: str, *, if_match: str | None = None) -> None:
        """Delete the blob; an absent one is no error."""
        ...
