"""Reads how long an HTTP answer asks to wait. Entry point: `read_retry_after`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_RETRY_AFTER_SECONDS = 24 * 3600.0


def read_retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return how many seconds the endpoint asks to wait, at most a day, or None.

    The header is `retry-after-ms`, or `retry-after` in seconds or as an HTTP date. An unreadable
    value counts as None.
    """
    milliseconds = _parse_number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _limit_wait(milliseconds / 1000)
    text = headers.get("retry-after")
    seconds = _parse_number(text)
    if seconds is not None:
        return _limit_wait(seconds)
    try:
        moment = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _limit_wait((moment - now).total_seconds())


def _limit_wait(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


def _parse_number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if number == number and number >= 0 else None  # NaN is not a number
