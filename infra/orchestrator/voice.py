"""How does the orchestrator speak to whoever started it?"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from typing import TextIO


class Voice:
    """Lines on standard output. Every one is flushed, for a pipeline shows them as they come.

    Nobody may be listening any more (`| head`, a closed terminal): that ends no deployment.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        """Speak to a stream; by default to what is standard output at that moment."""
        self._stream = stream

    def say(self, line: str = "") -> None:
        """One line."""
        stream = self._stream or sys.stdout
        try:
            stream.write(f"{line}\n")
            stream.flush()
        except OSError:
            self._stream = _nobody()

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


def _nobody() -> TextIO:
    """Where words go that nobody hears; Python's own last flush of standard output too."""
    nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open until the end
    with contextlib.suppress(OSError, ValueError):
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    return nowhere


class Silence(Voice):
    """Says nothing: for output that a machine reads."""

    def say(self, line: str = "") -> None:
        """Nothing."""
