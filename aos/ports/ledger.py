"""Keeps which runs were answered and counted. Entry point: `Ledger`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aos.domain.runs.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedRun:
    """An ended run, and the owner for whom it is counted.

    `told`: all that its end leads to was sent, the event too. `etag` is that of a row that says
    that the end's messages were sent, and whose usage is not counted yet.
    """

    run: Run
    owner: str
    told: bool = True
    etag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRun:
    """What `seen:<run_id>` says: the messages of the run's end were sent.

    `told`: all that its end leads to was sent before. That is not so where the event could not be
    published, nor in rows of the previous version. `counted`: its usage is counted.
    """

    told: bool
    counted: bool
    etag: str


class Ledger(Protocol):
    """What was sent at the ends of runs and the usage counted, table `aosusage`: once for each
    run, in one transaction, or one after the other where the usage cannot be written."""

    async def is_recorded(self, run: Run) -> bool:
        """True when `seen:<run_id>` exists."""
        ...

    async def find(self, run: Run) -> SeenRun | None:
        """Return what `seen:<run_id>` says, or None."""
        ...

    async def record(self, *runs: CountedRun) -> None:
        """Write `seen:<run_id>` of runs of one agent and add the usage to the rows of their day,
        agent, owner and model, in one transaction. At most 40 runs.

        Raises StaleWrite when one of them is recorded (at another ETag than `etag`), or another
        handler wrote meanwhile: call `find` again.
        """
        ...

    async def note_sent(self, sent: CountedRun) -> None:
        """Write `seen:<run_id>` alone: the messages were sent, and the usage cannot be counted now.

        Raises StaleWrite when there is a row.
        """
        ...
