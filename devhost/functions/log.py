"""Writes what the host itself has to say while it serves an app. Entry points: `say`,
`say_failed`.

One JSON object a line on stdout, beside the app's own lines: `event`, `timestamp`, `level` and
fields. It is quiet: a start, an end, and what went wrong. An error is told in one line each time;
its traceback only the first time that it comes from the same place. An error with a note that
begins with `logged:` was written by the app: the host's line has the level debug and no traceback.
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

Level = Literal["debug", "info", "warning", "error"]
_TRACEBACK_LINES = 60
_REMEMBERED = 512
_told: set[tuple[str, str, int]] = set()


def say(level: Level, event: str, **fields: object) -> None:
    """Write one line; fields that are None are left out."""
    line: dict[str, object] = {
        "event": event,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": level,
    }
    line.update((name, value) for name, value in fields.items() if value is not None)
    sys.stdout.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def say_failed(function: str, error: BaseException, **fields: object) -> None:
    """Write that a call of `function` failed with `error`."""
    if _is_logged(error):
        say("debug", "function.failed", function=function, **fields, error=brief(error))
    else:
        say("error", "function.failed", function=function, **fields, **_described(error))


def watched(task: asyncio.Task[None]) -> asyncio.Task[None]:
    """The task, whose unexpected end will be told: without it part of the host stands still."""
    task.add_done_callback(_say_ended)
    return task


def _say_ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        say("error", "host.task_failed", task=task.get_name(), **_described(error))


def brief(error: BaseException | None) -> str | None:
    """The error in one line, for what is no fault of the code; None for none."""
    if error is None:
        return None
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else repr(error)


def _is_logged(error: BaseException) -> bool:
    notes = getattr(error, "__notes__", ())
    return any(str(note).startswith("logged:") for note in notes)


def _described(error: BaseException) -> Mapping[str, object]:
    known: dict[str, object] = {"error": brief(error)}
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return known
    place = (type(error).__name__, frames[-1].filename, frames[-1].lineno or 0)
    if place not in _told:
        if len(_told) >= _REMEMBERED:
            _told.clear()
        _told.add(place)
        lines = "".join(traceback.format_exception(error)).rstrip().splitlines()
        known["traceback"] = "\n".join(lines[-_TRACEBACK_LINES:])
    return known
