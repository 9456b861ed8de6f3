"""Finds the ticks of a card's schedule. Entry points: `find_last_tick`, `find_next_tick`,
`name_schedules`.

The library cronsim knows what a cron expression means, and when it fires while clocks change
(docs/adr/0037-cron-by-cronsim.md). It is loaded where a schedule is checked or due.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aos.domain.cards.agent_card import Schedule

CATCH_UP = timedelta(hours=1)
"""Ticks older than this are not made up for. A watermark that is further in the future than this is
that of a clock which was wrong."""
_A_LEAP_DAY_AWAY = datetime(2096, 3, 1, tzinfo=UTC)
"""Eight years before the next 29 February: what has a tick after this day has one in any time."""


def has_ticks(cron: str) -> bool:
    """Whether the expression ever fires: `0 0 30 2 *` does not."""
    from cronsim import CronSim, CronSimError

    try:
        next(CronSim(cron, _A_LEAP_DAY_AWAY))
    except (CronSimError, StopIteration):
        return False
    return True


def find_last_tick(schedule: Schedule, *, after: datetime, until: datetime) -> datetime | None:
    """Return the latest tick (UTC) in (after, until], at most an hour before `until`; or None."""
    found = None
    for tick in _ticks(schedule, max(after, until - CATCH_UP)):
        if tick > until:
            break
        found = tick
    return found


def find_next_tick(schedule: Schedule, *, after: datetime) -> datetime | None:
    """Return the first tick (UTC) later than `after`; None if there is none in fifty years."""
    return next(_ticks(schedule, after), None)


def name_schedules(schedules: Sequence[Schedule]) -> dict[str, Schedule]:
    """Return the schedules by id: a digest of cron and time zone, so that an edit of the message
    keeps the schedule. Of several with the same times each has its number in the id."""
    named: dict[str, Schedule] = {}
    seen: Counter[str] = Counter()
    for schedule in schedules:
        times = f"{' '.join(schedule.cron.upper().split())} {schedule.time_zone}"
        seen[times] += 1
        text = times if seen[times] == 1 else f"{times} {seen[times]}"
        named[hashlib.sha256(text.encode()).hexdigest()[:32]] = schedule
    return named


def _ticks(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """Yield the ticks later than `after`, in order.

    In the hour that a clock repeats, cronsim begins with the first pass; what is not later than
    `after` is left out.
    """
    from zoneinfo import ZoneInfo

    from cronsim import CronSim

    for local in CronSim(schedule.cron, after.astimezone(ZoneInfo(schedule.time_zone))):
        tick = local.astimezone(UTC)
        if tick > after:
            yield tick
