"""Keeps which runs were answered and counted. Entry point: `Ledger`."""

from __future__ import annotations

from typing import Protocol

from aos.domain.runs.run import Run


class Ledger(Protocol):
    """The replies sent and the usage counted, table `aosusage`: once for each run, in one
    transaction."""

    async def is_recorded(self, run: Run) -> bool:
        """True when `seen:<run_id>` exists."""
        ...

    async def record(self, run: Run, *, owner: str) -> None:
        """Write `seen:<run_id>` and add the usage to the row of its day, agent, owner and model, in
        one transaction.

        Raises StaleWrite when another handler wrote meanwhile: call `is_recorded` again.
        """
        ...
