"""Defines the errors that stop the laptop. Entry points: `LaptopError`, `LaptopInterrupted`."""

from __future__ import annotations


class LaptopError(Exception):
    """The laptop cannot start or continue. The message is one line: cause, setting, log."""


class LaptopInterrupted(Exception):
    """The laptop was asked to stop while it was starting."""
