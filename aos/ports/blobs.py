"""Gives services one blob container. Entry point: `BlobStore`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobInfo:
    """One row of a listing: the name in the container, the ETag, the size in bytes, the time."""

    name: str
    etag: str
    size: int
    last_modified: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """The body of a blob with the ETag at which it was read."""

    name: str
    etag: str
    body: bytes


class BlobMissing(KeyError):
    """The blob does not exist."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The blob still has the ETag that the caller knows."""


class BlobStore(Protocol):
    """One blob container."""

    async def list(self, prefix: str) -> list[BlobInfo]:
        """List all blobs whose name begins with `prefix`, ordered by name."""
        ...

    async def read(self, name: str, *, max_bytes: int | None = None) -> Blob:
        """Read the blob, or its first `max_bytes` bytes. Raises BlobMissing."""
        ...

    async def read_if_changed(self, name: str, *, etag: str) -> Blob | Unchanged:
        """Read the blob, or return Unchanged if its ETag is still `etag`. Raises BlobMissing."""
        ...

    async def write(
        self, name: str, body: bytes, *, if_match: str | None = None, create_only: bool = False
    ) -> str:
        """Write the whole blob and return its new ETag.

        Raises StaleWrite if `if_match` is not the current ETag, or if the blob exists and
        `create_only` is set.
        """
        ...

    async def delete(self, name: str, *, if_match: str | None = None) -> None:
        """Delete the blob if it exists."""
        ...
