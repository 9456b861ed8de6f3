"""Writes the host's own log lines while it serves an app. Entry points: `say`, `say_failed`.

Each line is one JSON object on stdout, beside the app's own lines: `event`, `timestamp`, `level`
and fields. The host logs starts, ends and errors. Each error is one line; its traceback is written
only the first time it comes from the same place. If an error has a note that begins with `logged:`,
the app has logged it already: the host's line then has level debug and no traceback.
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
    """Write one line. Fields that are None are left out."""
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
        say("debug", "function.failed", function=function, **fields, error=describe_briefly(error))
    else:
        say("error", "function.failed", function=function, **fields, **_describe(error))


def watch_task(task: asyncio.Task[None]) -> asyncio.Task[None]:
    """Return the task; its unexpected end will be logged, because a part of the host then stops."""
    task.add_done_callback(_say_ended)
    return task


def _say_ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        say("error", "host.task_failed", task=task.get_name(), **_describe(error))


def describe_briefly(error: BaseException | None) -> str | None:
    """Describe an error that is not a fault of the code in one line, or return None."""
    if error is None:
        return None
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else repr(error)


def _is_logged(error: BaseException) -> bool:
    notes = getattr(error, "__notes__", ())
    return any(str(note).startswith("logged:") for note in notes)


def _describe(error: BaseException) -> Mapping[str, object]:
    known: dict[str, object] = {"error": describe_briefly(error)}
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
