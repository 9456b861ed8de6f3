"""Is somebody there who can be asked, and what is the answer?"""

from __future__ import annotations

import sys


class Terminal:
    """Standard input. Without a terminal nobody is asked, so that a pipeline never hangs."""

    def interactive(self) -> bool:
        """Whether a person can answer."""
        return sys.stdin is not None and sys.stdin.isatty()

    def ask(self, question: str) -> str:
        """The answer in lower case; empty at the end of input, or when it is gone."""
        try:
            return input(question).strip().lower()
        except (EOFError, OSError):
            return ""
