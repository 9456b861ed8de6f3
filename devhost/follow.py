"""Shows what the apps log while the laptop runs, one line for each fact. Entry point:
`LogFollower.look`.

Lines of level debug are left out, and so are events that repeat within one look. The log files
contain everything.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

LINES_PER_LOOK = 20
LINES_PER_EVENT = 2
"""The most lines of one event in one look; further ones are counted."""
LONGEST_LOG_BYTES = 20 * 1024 * 1024
LONGEST_LINE = 300
_LEFT_OUT = frozenset({"event", "timestamp", "level", "logger", "message"})


class LogFollower:
    """Reads each log from where it stopped. It shows a limited number of lines; the files contain
    all."""

    def __init__(self, logs: Mapping[str, Path], *, say: Callable[[str], None]) -> None:
        """Start at the current end of each log."""
        self._logs = dict(logs)
        self._say = say
        self._read_to = {name: _size(path) for name, path in self._logs.items()}

    def look(self) -> None:
        """Show new lines, at most `LINES_PER_LOOK` for each app; cut logs that are too long."""
        for name, path in self._logs.items():
            lines = _select_lines(self._read_new_lines(name, path), log=path.name)
            for line in lines[:LINES_PER_LOOK]:
                self._say(f"{name:<6}| {line}")
            if len(lines) > LINES_PER_LOOK:
                self._say(f"{name:<6}| … {len(lines) - LINES_PER_LOOK} more lines in {path.name}")
            if _size(path) > LONGEST_LOG_BYTES:
                self._cut(name, path)

    def _read_new_lines(self, name: str, path: Path) -> list[str]:
        start = self._read_to[name]
        if _size(path) < start:
            start = 0
        try:
            with path.open("rb") as file:
                file.seek(start)
                text = file.read(LONGEST_LOG_BYTES)
        except OSError:
            return []
        whole, newline, _ = text.rpartition(b"\n")
        self._read_to[name] = start + len(whole) + len(newline)
        return [line for line in whole.decode("utf-8", "replace").splitlines() if line.strip()]

    def _cut(self, name: str, path: Path) -> None:
        """Move the old lines to `<name>.log.1`. The child keeps writing to the same file."""
        shutil.copyfile(path, path.with_name(path.name + ".1"))
        with path.open("r+b") as file:
            file.truncate(0)
        self._read_to[name] = 0


def shorten_line(line: str) -> str:
    """Shorten a log line for a reader: the event and fields of a JSON object, else the line
    itself."""
    fields = _read_fields(line)
    if fields is None:
        return line[:LONGEST_LINE]
    level = str(fields.get("level", "")).upper()
    start = f"{level} " if level not in ("", "INFO") else ""
    text = fields.get("message") or fields["event"]
    rest = " ".join(f"{n}={v}" for n, v in fields.items() if n not in _LEFT_OUT and v is not None)
    return f"{start}{text} {rest}".rstrip()[:LONGEST_LINE]


def _select_lines(lines: Sequence[str], *, log: str) -> list[str]:
    """Return the lines to show: none of level debug, at most LINES_PER_EVENT of an event."""
    shown: list[str] = []
    seen: Counter[str] = Counter()
    for line in lines:
        fields = _read_fields(line)
        if fields is not None:
            if str(fields.get("level", "")).upper() == "DEBUG":
                continue
            seen[str(fields["event"])] += 1
            if seen[str(fields["event"])] > LINES_PER_EVENT:
                continue
        shown.append(shorten_line(line))
    repeated = {event: count - LINES_PER_EVENT for event, count in seen.items()}
    return shown + [f"… {n} more {event} in {log}" for event, n in repeated.items() if n > 0]


def _read_fields(line: str) -> dict[str, Any] | None:
    """Return the fields of a log line that is a JSON object with an event, else None."""
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) and "event" in fields else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
