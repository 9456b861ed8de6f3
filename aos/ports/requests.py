"""Keeps what was accepted, and what is not fully delivered yet. Entry points: `RequestStore`,
`PendingStore`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from aos.domain.runs.run import AdmittedRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRequest:
    """A request row: the request as admitted, when its cancellation was asked for, and why
    (an error code; None: a caller wanted it)."""

    request: AdmittedRequest
    cancel_requested_at: datetime | None = None
    cancel_reason: str | None = None


class RequestStore(Protocol):
    """The request rows, table `aosruns`: what was accepted, inserted once, never changed."""

    async def find(self, run_id: str) -> StoredRequest | None:
        """The row, or None."""
        ...

    async def insert(self, request: AdmittedRequest) -> None:
        """Write the row; raises StaleWrite when it exists (also when an earlier try of this
        very call took effect: look it up)."""
        ...

    async def ask_cancel(self, run_id: str, *, at: datetime, reason: str | None = None) -> None:
        """Set `cancel_requested_at` and why; a later ask leaves the first one standing."""
        ...

    async def cancel_asked(self, run_id: str) -> bool:
        """True once cancellation was asked for; reads nothing but that."""
        ...

    async def join_tree(self, root_run_id: str, run_id: str) -> int:
        """Enter a delegated run in the tree of its root (again: no change); how many runs the
        tree has now, the root included."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRun:
    """A pending row: an admitted run (or an admission under way) that the mender looks at.

    `checks` counts the mender's looks so far. `etag` is None on a row not read from the store.
    """

    run_id: str
    conversation_id: str
    created_at: datetime
    next_check: datetime
    checks: int = 0
    etag: str | None = None


class PendingStore(Protocol):
    """The pending rows, table `aospending`: what has not been fully delivered yet."""

    async def put(self, pending: PendingRun) -> None:
        """Write the row, whether or not it exists (a repeated admission makes it due anew)."""
        ...

    async def due(self, now: datetime, *, limit: int) -> list[PendingRun]:
        """At most `limit` rows with `next_check` <= now, with their ETags."""
        ...

    async def move(self, pending: PendingRun, *, next_check: datetime) -> None:
        """Look again at `next_check`, one more check counted; StaleWrite when the row changed."""
        ...

    async def drop(self, run_id: str, *, etag: str | None = None) -> None:
        """Delete the row; an absent one is no error; StaleWrite when `etag` is given and old."""
        ...
