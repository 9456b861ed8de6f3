"""What do the apps say while the laptop runs, in one line each?"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

LINES_PER_LOOK = 20
LONGEST_LOG_BYTES = 20 * 1024 * 1024
LONGEST_LINE = 300
_LEFT_OUT = frozenset({"event", "timestamp", "level", "logger", "message"})


class LogFollower:
    """Reads on where it stopped; quiet by bounds, since the files hold everything."""

    def __init__(self, logs: Mapping[str, Path], *, say: Callable[[str], None]) -> None:
        """Start at the end of each log as it is now."""
        self._logs = dict(logs)
        self._say = say
        self._read_to = {name: _size(path) for name, path in self._logs.items()}

    def look(self) -> None:
        """Say what is new, at most `LINES_PER_LOOK` lines an app; cut logs that grew too long."""
        for name, path in self._logs.items():
            lines = self._new_lines(name, path)
            for line in lines[:LINES_PER_LOOK]:
                self._say(f"{name:<6}| {in_one_line(line)}")
            if len(lines) > LINES_PER_LOOK:
                self._say(f"{name:<6}| … {len(lines) - LINES_PER_LOOK} more lines in {path.name}")
            if _size(path) > LONGEST_LOG_BYTES:
                self._cut(name, path)

    def _new_lines(self, name: str, path: Path) -> list[str]:
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
        """Keep the old lines in `<name>.log.1`; the child goes on writing to the same file."""
        shutil.copyfile(path, path.with_name(path.name + ".1"))
        with path.open("r+b") as file:
            file.truncate(0)
        self._read_to[name] = 0


def in_one_line(line: str) -> str:
    """A log line for a reader: of a JSON object the event and its fields, else the line itself."""
    try:
        fields = json.loads(line)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or "event" not in fields:
        return line[:LONGEST_LINE]
    level = str(fields.get("level", "")).upper()
    start = f"{level} " if level not in ("", "INFO") else ""
    text = fields.get("message") or fields["event"]
    rest = " ".join(f"{n}={v}" for n, v in fields.items() if n not in _LEFT_OUT and v is not None)
    return f"{start}{text} {rest}".rstrip()[:LONGEST_LINE]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
