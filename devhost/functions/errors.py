"""Defines the errors of an app that the host cannot start. Entry points: `HostError`,
`LoadError`."""

from __future__ import annotations


class HostError(Exception):
    """The app cannot be served. The text is one line: what is wrong, where, and what to do."""


class LoadError(HostError):
    """One function, or the whole app, is refused, as Azure would refuse it."""

    def __init__(self, function_name: str, problem: str, *, remedy: str) -> None:
        super().__init__(f"cannot load the {function_name} function: {problem}; {remedy}")
        self.function_name = function_name
