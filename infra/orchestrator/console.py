"""Writes lines to standard output and asks questions. Entry points: `Console`, `Terminal`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from typing import TextIO


class Console:
    """Writes lines to standard output and flushes each one, so that a pipeline shows it at once.

    When the reader is gone (`| head`, a closed terminal), the lines are dropped and the deployment
    continues.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to `stream`, or to what is standard output at the time of each line."""
        self._stream = stream

    def write(self, line: str = "") -> None:
        """Write one line."""
        stream = self._stream or sys.stdout
        try:
            stream.write(f"{line}\n")
            stream.flush()
        except OSError:
            self._stream = _open_null_device()

    def write_heading(self, text: str) -> None:
        """Write the first line of a phase."""
        self.write(f"\n== {text}")

    def write_item(self, text: str) -> None:
        """Write a line of the current phase."""
        self.write(f"   {text}")

    def write_items(self, lines: Iterable[str]) -> None:
        """Write several lines of the current phase."""
        for line in lines:
            self.write_item(line)

    def warn(self, text: str) -> None:
        """Write a warning. It does not stop the run."""
        self.write_item(f"warning: {text}")


class SilentConsole(Console):
    """Writes nothing. It is used where standard output must hold JSON only."""

    def write(self, line: str = "") -> None:
        """Drop the line."""


class Terminal:
    """Asks questions on standard input."""

    def is_interactive(self) -> bool:
        """Whether standard input is a terminal. In a pipeline it is not, so nothing is asked."""
        return sys.stdin is not None and sys.stdin.isatty()

    def ask(self, question: str) -> str:
        """Return the answer in lower case, or an empty text when the input has ended."""
        try:
            return input(question).strip().lower()
        except (EOFError, OSError):
            return ""


def _open_null_device() -> TextIO:
    """Open the null device, and point standard output to it for Python's own flush at the end."""
    nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open until the end
    with contextlib.suppress(OSError, ValueError):
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    return nowhere
