"""Is this a cron expression of five fields?"""

from __future__ import annotations

import re

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


def cron_problem(text: str) -> str | None:
    """What is wrong with it, or None: minute, hour, day of month, month, day of week."""
    fields = text.split()
    if len(fields) != len(_FIELDS):
        return f"a cron expression has five fields, {text!r} has {len(fields)}"
    for index, field in enumerate(fields):
        name, low, high = _FIELDS[index]
        if not all(_part_is_valid(part, index) for part in field.split(",")):
            return f"{field!r} is no {name} of a cron expression ({low} to {high})"
    return None


def _part_is_valid(part: str, index: int) -> bool:
    match = _PART.fullmatch(part)
    if match is None or (match[2] is not None and int(match[2]) == 0):
        return False
    if match[1] == "*":
        return True
    numbers = [_number(word, index) for word in match[1].split("-")]
    _, low, high = _FIELDS[index]
    if any(number is None or not low <= number <= high for number in numbers):
        return False
    return len(numbers) == 1 or (numbers[0] or 0) <= (numbers[1] or 0)


def _number(word: str, index: int) -> int | None:
    if word.isdigit():
        return int(word)
    names = _NAMES.get(index, [])
    if word.lower() not in names:
        return None
    return names.index(word.lower()) + _FIELDS[index][1]
