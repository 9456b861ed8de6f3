"""Checks cron expressions of five fields. Entry point: `find_cron_problem`.

The grammar is that of cron without the extensions of single programs (`L`, `#`, `@daily`). A sixth
field, which some programs read as seconds, is refused: an agent wakes at most once a minute.
"""

from __future__ import annotations

import re

from aos.domain.cards.ticks import has_ticks

_NAMES = {
    3: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    4: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
}
_FIELDS = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of month", 1, 31),
    ("month", 1, 12),
    ("day of week", 0, 7),
)
_PART = re.compile(r"(\*|[0-9a-z]{1,4}(?:-[0-9a-z]{1,4})?)(?:/([0-9]{1,4}))?", re.IGNORECASE)


def find_cron_problem(text: str) -> str | None:
    """Describe what is wrong with a cron expression, or return None if it is valid.

    The fields are minute, hour, day of month, month and day of week.
    """
    fields = text.split()
    if len(fields) == len(_FIELDS) + 1:
        return f"{text!r} has a field for seconds; an agent wakes at most once a minute"
    if len(fields) != len(_FIELDS):
        return f"a cron expression has five fields, but {text!r} has {len(fields)}"
    for index, field in enumerate(fields):
        name, low, high = _FIELDS[index]
        if not all(_is_valid_part(part, index) for part in field.split(",")):
            return f"{field!r} is not a valid {name} of a cron expression ({low} to {high})"
    if not has_ticks(text):
        return f"{text!r} never fires: no year has such a day"
    return None


def _is_valid_part(part: str, index: int) -> bool:
    match = _PART.fullmatch(part)
    if match is None or (match[2] is not None and int(match[2]) == 0):
        return False
    if match[1] == "*":
        return True
    numbers = [_parse_number(word, index) for word in match[1].split("-")]
    _, low, high = _FIELDS[index]
    if any(number is None or not low <= number <= high for number in numbers):
        return False
    return len(numbers) == 1 or (numbers[0] or 0) <= (numbers[1] or 0)


def _parse_number(word: str, index: int) -> int | None:
    if word.isdigit():
        return int(word)
    names = _NAMES.get(index, [])
    if word.lower() not in names:
        return None
    return names.index(word.lower()) + _FIELDS[index][1]
