"""Keeps what was spent of daily budgets. Entry point: `SpendingStore`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from aos.domain.budgets import DaySpending


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSpending:
    """The spending of a day with its ETag, None if there is no row."""

    spending: DaySpending = field(default_factory=DaySpending)
    etag: str | None = None


class SpendingStore(Protocol):
    """The spending, rows `spent:<date>` of the table `aosusage`: one for each budget and day."""

    async def read(self, account: str, day: str) -> StoredSpending:
        """Return the row of an account (`Budget.account`) and a day (`2026-01-31`)."""
        ...

    async def write(
        self, account: str, day: str, spending: DaySpending, *, etag: str | None
    ) -> str:
        """Write the row in the place of the one with `etag` (None: no row exists).

        Returns the new ETag. Raises StaleWrite if the row changed, and OutcomeUnknown if the answer
        was lost.
        """
        ...
