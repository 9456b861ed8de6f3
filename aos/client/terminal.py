"""Writes what a command says, for people or for programs. Entry points: `say`, `say_json`,
`Progress`, `Exit`.

stdout has what was asked for, stderr what is said about it. With `--json` stdout has JSON objects,
one a line. Colours and progress appear only in a terminal; `NO_COLOR` switches colours off.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from enum import IntEnum
from typing import Any, Literal, TextIO, TypeAlias

from aos.domain.json_writer import write_json

Colour: TypeAlias = Literal["red", "green", "yellow", "dim"]
_CODES: dict[Colour, str] = {"red": "31", "green": "32", "yellow": "33", "dim": "2"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
PROGRESS_AFTER_SECONDS = 1.0
PROGRESS_EVERY_SECONDS = 0.5


class Exit(IntEnum):
    """The exit codes of `aos`."""

    DONE = 0
    SAID_NO = 1
    CANNOT = 2
    WAITS = 3
    GOES_ON = 4
    INTERRUPTED = 130


EXIT_CODES: dict[Exit, str] = {
    Exit.DONE: "done",
    Exit.SAID_NO: "AOS refused, the run did not complete, a check failed, or folders differ",
    Exit.CANNOT: "it could not be tried: wrong usage, a missing file, or AOS cannot be reached",
    Exit.WAITS: "the run waits for a person",
    Exit.GOES_ON: "the time is over and the run goes on",
    Exit.INTERRUPTED: "interrupted with Ctrl-C",
}


def say(text: str, *, to: TextIO | None = None) -> None:
    """Write a line to stdout."""
    print(text, file=to or sys.stdout, flush=True)


def say_error(text: str) -> None:
    """Write a line to stderr."""
    say(text, to=sys.stderr)


def say_json(value: Any) -> None:
    """Write an object as one line of JSON."""
    say(write_json(value, ensure_ascii=False))


def clean(text: str) -> str:
    """Return the text without control characters, which would act on the terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def shorten(text: str, length: int = 160) -> str:
    """Return the text as one line of at most `length` characters."""
    line = " ".join(clean(text).split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def paint(text: str, colour: Colour) -> str:
    """Return the text in a colour if stdout is a terminal that shows colours."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if has_colours() else text


def has_colours() -> bool:
    """Whether stdout is a terminal that shows colours."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    old_windows = os.name == "nt" and not os.environ.get("WT_SESSION")
    return sys.stdout.isatty() and not old_windows


def is_interactive() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def confirm(question: str) -> bool:
    """Ask a person; nothing and everything but yes is no."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def make_output_safe() -> None:
    """Let characters that the terminal's encoding lacks (on Windows) appear as question marks."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


class Progress:
    """Shows on stderr what takes longer than a second, in a terminal only."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            self._thread = threading.Thread(target=self._show, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * PROGRESS_EVERY_SECONDS)

    def _show(self) -> None:
        started = time.monotonic()
        if self._done.wait(PROGRESS_AFTER_SECONDS):
            return
        width = 0
        while True:
            line = f"{self._text}: {time.monotonic() - started:.0f} s"
            width = max(width, len(line))
            sys.stderr.write(f"\r{line:<{width}}")
            sys.stderr.flush()
            if self._done.wait(PROGRESS_EVERY_SECONDS):
                sys.stderr.write(f"\r{'':<{width}}\r")
                sys.stderr.flush()
                return
