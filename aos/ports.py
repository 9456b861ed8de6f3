"""What do the services need from the world?

Role-named Protocols of at most five methods. The real ones are in `aos.adapters`, wired by
`aos.bootstrap`; `aos.adapters.memory` has a fake of each, held to the same contract tests. A
method raises `TransientError` when the world is away, `OutcomeUnknown` when a write may or may
not have happened, and `StaleWrite` when a condition did not hold.
"""

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


class BlobStore(Protocol):
    """One blob container."""

    async def list(self, prefix: str) -> list[BlobInfo]:
        """Every blob whose name begins with `prefix`, complete, by name."""
        ...

    async def read(
        self, name: str, *, if_none_match: str | None = None, max_bytes: int | None = None
    ) -> Blob | None:
        """The blob, or None when its ETag is still `if_none_match`.

        With `max_bytes` only that many leading bytes are fetched. Raises KeyError when there is
        no such blob.
        """
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


class Clock(Protocol):
    """Time, as a port so that tests and the simulation own it."""

    def now(self) -> datetime:
        """The time in UTC, timezone-aware."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...
