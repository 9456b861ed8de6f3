"""Keeps which runs were answered and counted. Entry point: `Ledger`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aos.domain.runs.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """What `aosusage` knows about a run: has it been answered and counted, and the day's row
    that it would be added to (opaque to services)."""

    seen: bool
    day_row: object = None


class Ledger(Protocol):
    """Replies sent and usage counted, table `aosusage`: once a run, in one transaction."""

    async def look(self, run: Run) -> LedgerEntry:
        """Whether `seen:<run_id>` stands, and the usage row of the run's day and bucket."""
        ...

    async def record(self, run: Run, entry: LedgerEntry) -> None:
        """Write `seen:<run_id>` and add the usage, together; StaleWrite: look again."""
        ...
