"""What does the host say when it cannot start an app?"""

from __future__ import annotations


class HostError(Exception):
    """The app cannot be served; the text is one line: what is wrong, where, and what to do."""


class LoadError(HostError):
    """One function, or the app as a whole, is refused, as Azure would refuse it."""

    def __init__(self, function_name: str, problem: str, *, remedy: str) -> None:
        super().__init__(f"cannot load the {function_name} function: {problem}; {remedy}")
        self.function_name = function_name
