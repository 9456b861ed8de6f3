"""Keeps what was accepted, and what is not fully delivered yet. Entry points: `RequestStore`,
`PendingStore`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from aos.domain.runs.run import AdmittedRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRequest:
    """A request row: the admitted request, when its cancellation was requested, and why.

    The reason is an error code; None means that a caller requested it. `scrubbed` is set when its
    conversation was deleted, and what the caller wrote was removed.
    """

    request: AdmittedRequest
    cancel_requested_at: datetime | None = None
    cancel_reason: str | None = None
    scrubbed: bool = False


class RequestStore(Protocol):
    """The request rows, table `aosruns`: accepted requests, inserted once and never changed."""

    async def find(self, run_id: str) -> StoredRequest | None:
        """Return the row, or None."""
        ...

    async def insert(self, request: AdmittedRequest) -> None:
        """Write the row. Raises StaleWrite if it exists.

        It may exist because an earlier attempt of the same call took effect, so look it up.
        """
        ...

    async def ask_cancel(self, run_id: str, *, at: datetime, reason: str | None = None) -> None:
        """Set `cancel_requested_at` and the reason. The first request stays; later ones change
        nothing."""
        ...

    async def is_cancel_requested(self, run_id: str) -> bool:
        """Return whether cancellation was requested, reading nothing else."""
        ...

    async def join_tree(self, root_run_id: str, run_id: str) -> int:
        """Add a delegated run to the tree of its root; return the number of its runs, the root
        included.

        Adding it again changes nothing.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRun:
    """A pending row: an admitted run, or an admission in progress, that the mender checks.

    `checks` counts the mender's checks so far. `etag` is None on a row that was not read from the
    store.
    """

    run_id: str
    conversation_id: str
    created_at: datetime
    next_check: datetime
    checks: int = 0
    etag: str | None = None


class PendingStore(Protocol):
    """The pending rows, table `aospending`: what is not fully delivered yet."""

    async def put(self, pending: PendingRun) -> None:
        """Write the row, whether or not it exists. A repeated admission makes it due again."""
        ...

    async def list_due(self, now: datetime, *, limit: int) -> list[PendingRun]:
        """Return at most `limit` rows with `next_check` <= now, with their ETags."""
        ...

    async def move(self, pending: PendingRun, *, next_check: datetime) -> None:
        """Set the next check to `next_check` and count one check. Raises StaleWrite if the row
        changed."""
        ...

    async def drop(self, run_id: str, *, etag: str | None = None) -> None:
        """Delete the row if it exists. Raises StaleWrite if `etag` is given and not current."""
        ...

    async def drop_all(self, run_ids: Sequence[str]) -> None:
        """Delete these rows, as far as they exist."""
        ...
