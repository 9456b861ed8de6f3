"""Answers how much was used and what it cost. Entry point: `UsageReports.read`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, timedelta

from aos.domain.usage import GroupBy, Prices, SummedUsage, sum_usage
from aos.errors import Refused
from aos.ports.system import Clock
from aos.ports.usage import UsageReader

MOST_DAYS = 92
DEFAULT_DAYS = 30
MOST_ROWS = 100_000
LIMIT_SECONDS = 30.0
READS_AT_ONCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Days in UTC, both included."""

    first: date
    last: date


class UsageReports:
    """Main's use case: sum the usage of some days. Bounded in days, rows, and seconds."""

    def __init__(
        self,
        *,
        usage: UsageReader,
        write_ends: Callable[[], Awaitable[None]],
        prices: Prices,
        clock: Clock,
    ) -> None:
        """`write_ends` counts the ended runs that this process has not counted yet."""
        self._usage = usage
        self._write_ends = write_ends
        self._prices = prices
        self._clock = clock
        self._reads = asyncio.Semaphore(READS_AT_ONCE)

    @property
    def currency(self) -> str | None:
        """The currency of the prices; None without prices."""
        return self._prices.currency

    def choose_period(self, first: date | None, last: date | None) -> Period:
        """The period that a caller means: by default 30 days, the last of them today.

        Raises Refused `invalid_request` for more than 92 days, and for days in the wrong order.
        """
        last = last or self._clock.now().date()
        if first is None:
            first = last - min(timedelta(days=DEFAULT_DAYS - 1), last - date.min)
        days = (last - first).days + 1
        if not 1 <= days <= MOST_DAYS:
            why = "from is after to" if days < 1 else f"from {first} to {last} are {days} days"
            raise Refused("invalid_request", f"{why}; ask for 1 to {MOST_DAYS} days", field="from")
        return Period(first=first, last=last)

    async def read(
        self, period: Period, *, by: GroupBy, agent_id: str | None, owner: str | None
    ) -> SummedUsage:
        """Sum the usage of an agent, an owner, both, or (both None) of everybody.

        Raises Refused `invalid_request` for more than can be read, and TransientError.
        """
        try:
            async with self._reads, asyncio.timeout(LIMIT_SECONDS):
                await self._write_ends()
                found = await self._usage.read(
                    first=period.first.isoformat(),
                    last=period.last.isoformat(),
                    agent_id=agent_id,
                    owner=owner,
                    most=MOST_ROWS,
                )
        except TimeoutError as error:
            raise _refuse(f"were not read within {LIMIT_SECONDS:.0f} s") from error
        if not found.complete:
            raise _refuse(f"are more than {MOST_ROWS:,}")
        return sum_usage(found.rows, by=by, prices=self._prices)


def _refuse(why: str) -> Refused:
    return Refused(
        "invalid_request", f"the usage rows of this period {why}; ask for fewer days, or one agent"
    )
