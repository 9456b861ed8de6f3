"""Parses timer schedules and finds their next occurrence. Entry point: `parse_schedule`.

It reads NCRONTAB as Azure's timer trigger does: six fields (second, minute, hour, day, month, day
of week; five fields mean second 0), lists, ranges, steps and names; both day and day of week must
match. A TimeSpan (`00:00:05`) is an interval.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from devhost.functions.errors import HostError
from devhost.functions.settings import seconds

_FIELDS = (
    ("second", 0, 59),
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day", 1, 31),
    ("month", 1, 12),
    ("day of week", 0, 6),
)
_NAMES = {
    "month": (
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
        1,
    ),
    "day of week": (["sun", "mon", "tue", "wed", "thu", "fri", "sat"], 0),
}
_PART = re.compile(r"(\*|\w{1,12})(?:-(\w{1,12}))?(?:/(\d{1,4}))?")
_HORIZON = timedelta(days=366 * 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A timer's schedule: the allowed values of six fields, or an interval."""

    fields: tuple[frozenset[int], ...] = ()
    interval: timedelta | None = None

    def find_next_after(self, moment: datetime) -> datetime:
        """Return the first occurrence later than `moment`. Raises HostError if there is none."""
        if self.interval is not None:
            return moment + self.interval
        second, minute, hour, day, month, weekday = self.fields
        candidate = moment.replace(microsecond=0) + timedelta(seconds=1)
        while candidate - moment < _HORIZON:
            if candidate.month not in month:
                candidate = _find_next_month(candidate)
            elif candidate.day not in day or candidate.isoweekday() % 7 not in weekday:
                candidate = candidate.replace(hour=0, minute=0, second=0) + timedelta(days=1)
            elif candidate.hour not in hour:
                candidate = candidate.replace(minute=0, second=0) + timedelta(hours=1)
            elif candidate.minute not in minute:
                candidate = candidate.replace(second=0) + timedelta(minutes=1)
            elif candidate.second not in second:
                candidate += timedelta(seconds=1)
            else:
                return candidate
        raise HostError("a schedule never fires; check its day and month")


def parse_schedule(text: str) -> Schedule:
    """Parse a schedule. Raises HostError with the wrong field."""
    if ":" in text:
        interval = timedelta(seconds=seconds(text))
        if interval <= timedelta(0):
            raise HostError(f"the schedule {text!r} must be longer than 0 seconds")
        return Schedule(interval=interval)
    words = text.split()
    if len(words) == 5:
        words = ["0", *words]
    if len(words) != len(_FIELDS):
        raise HostError(f"the schedule {text!r} has {len(words)} fields; NCRONTAB has six")
    return Schedule(
        fields=tuple(
            frozenset(_parse_values(word, *field, text))
            for word, field in zip(words, _FIELDS, strict=True)
        )
    )


def _parse_values(word: str, name: str, low: int, high: int, text: str) -> set[int]:
    values: set[int] = set()
    for part in word.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise HostError(f"the schedule {text!r}: {part!r} is not a valid {name}")
        first, last, step = match.groups()
        if first == "*":
            start, end = low, high
        else:
            start = _parse_number(first, name, text)
            end = _parse_number(last, name, text) if last else (high if step else start)
        if not low <= start <= end <= high or step == "0":
            raise HostError(
                f"the schedule {text!r}: {part!r} is not a valid {name} ({low} to {high})"
            )
        values.update(range(start, end + 1, int(step or 1)))
    return values


def _parse_number(word: str, name: str, text: str) -> int:
    if word.isdigit():
        return int(word)
    names, offset = _NAMES.get(name, ([], 0))
    if word.lower()[:3] not in names:
        raise HostError(f"the schedule {text!r}: {word!r} is not a valid {name}")
    return names.index(word.lower()[:3]) + offset


def _find_next_month(moment: datetime) -> datetime:
    year, month = (moment.year + 1, 1) if moment.month == 12 else (moment.year, moment.month + 1)
    return moment.replace(year=year, month=month, day=1, hour=0, minute=0, second=0)
