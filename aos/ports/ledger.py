"""Keeps which runs were answered and counted. Entry point: `Ledger`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aos.domain.runs.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedRun:
    """An ended run, and the owner for whom it is counted.

    `told`: all that its end leads to was sent, the event too.
    """

    run: Run
    owner: str
    told: bool = True


class Ledger(Protocol):
    """What was sent at the ends of runs and the usage counted, table `aosusage`: once for each
    run, in one transaction."""

    async def is_recorded(self, run: Run) -> bool:
        """True when `seen:<run_id>` exists."""
        ...

    async def was_told(self, run: Run) -> bool:
        """True when `seen:<run_id>` says that all that its end leads to was sent before.

        It does not where the event could not be published, nor in rows of the previous version.
        """
        ...

    async def record(self, *runs: CountedRun) -> None:
        """Write `seen:<run_id>` of runs of one agent and add the usage to the rows of their day,
        agent, owner and model, in one transaction. At most 40 runs.

        Raises StaleWrite when one of them is recorded, or another handler wrote meanwhile: call
        `is_recorded` again.
        """
        ...
