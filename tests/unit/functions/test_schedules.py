"""Schedules fire when Azure's timer trigger would."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from devhost.functions.errors import HostError
from devhost.functions.ncrontab import parse_schedule

NOON = datetime(2026, 3, 14, 12, 0, 0, tzinfo=UTC)  # a Saturday

NEXT = [
    ("*/5 * * * * *", "2026-03-14T12:00:05"),
    ("0 */5 * * * *", "2026-03-14T12:05:00"),
    ("*/5 * * * *", "2026-03-14T12:05:00"),
    ("30 15,45 * * * *", "2026-03-14T12:15:30"),
    ("0 0 9-17/4 * * *", "2026-03-14T13:00:00"),
    ("0 30 9 * * Mon-Fri", "2026-03-16T09:30:00"),
    ("0 0 0 1 * *", "2026-04-01T00:00:00"),
    ("0 0 0 29 2 *", "2028-02-29T00:00:00"),
    ("0 0 0 * Jan *", "2027-01-01T00:00:00"),
    ("0 0 0 13 * Fri", "2026-11-13T00:00:00"),
    ("00:00:05", "2026-03-14T12:00:05"),
]


@pytest.mark.parametrize(("schedule", "expected"), NEXT)
def test_the_next_occurrence_is_azures(schedule: str, expected: str) -> None:
    moment = parse_schedule(schedule).find_next_after(NOON)
    assert moment.replace(tzinfo=None).isoformat() == expected


def test_an_occurrence_is_later_than_the_moment_asked_for() -> None:
    schedule = parse_schedule("0 0 12 * * *")
    assert schedule.find_next_after(NOON) == NOON + timedelta(days=1)
    assert schedule.find_next_after(NOON - timedelta(microseconds=1)) == NOON


def test_a_schedule_holds_in_its_own_time_zone() -> None:
    zone = ZoneInfo("Europe/Berlin")
    found = parse_schedule("0 0 9 * * *").find_next_after(datetime(2026, 7, 1, 10, tzinfo=zone))
    assert found.isoformat() == "2026-07-02T09:00:00+02:00"


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("* * *", "has 3 fields"),
        ("60 * * * * *", "is not a valid second"),
        ("0 0 0 * Foo *", "'Foo' is not a valid month"),
        ("*/0 * * * * *", "is not a valid second"),
        ("0 0 0 5-2 * *", "is not a valid day"),
        ("00:00:00", "longer than 0 seconds"),
    ],
)
def test_a_wrong_schedule_says_which_field_is_wrong(schedule: str, message: str) -> None:
    with pytest.raises(HostError, match=message):
        parse_schedule(schedule)


def test_a_schedule_that_never_fires_is_refused() -> None:
    with pytest.raises(HostError, match="never fires"):
        parse_schedule("0 0 0 31 2 *").find_next_after(NOON)
