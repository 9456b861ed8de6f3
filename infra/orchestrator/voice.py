"""How does the orchestrator speak to whoever started it?"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO


class Voice:
    """Lines on standard output. Every one is flushed, for a pipeline shows them as they come."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Speak to a stream; by default to what is standard output at that moment."""
        self._stream = stream

    def say(self, line: str = "") -> None:
        """One line."""
        stream = self._stream or sys.stdout
        stream.write(f"{line}\n")
        stream.flush()

    def heading(self, text: str) -> None:
        """The start of a phase."""
        self.say(f"\n== {text}")

    def item(self, text: str) -> None:
        """A line that belongs to the phase."""
        self.say(f"   {text}")

    def warn(self, text: str) -> None:
        """Something to know that stops nothing."""
        self.say(f"   warning: {text}")

    def items(self, lines: Iterable[str]) -> None:
        """Several lines of the phase."""
        for line in lines:
            self.item(line)


class Silence(Voice):
    """Says nothing: for output that a machine reads."""

    def say(self, line: str = "") -> None:
        """Nothing."""
