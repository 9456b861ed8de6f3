"""Reads how much was used. Entry point: `UsageReader`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aos.domain.usage import UsageRow


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundUsage:
    """The usage rows found; `complete` is False when there are more than asked for."""

    rows: Sequence[UsageRow]
    complete: bool


class UsageReader(Protocol):
    """The usage that `Ledger.record` counted: rows `day:…` of the table `aosusage`."""

    async def read(
        self, *, first: str, last: str, agent_id: str | None, owner: str | None, most: int
    ) -> FoundUsage:
        """Read the rows from the day `first` to the day `last` (`2026-01-31`), both included.

        `agent_id` and `owner` None mean all. At most `most` rows are returned.
        """
        ...
