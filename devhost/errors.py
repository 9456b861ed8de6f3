"""How does the laptop say that it cannot go on?"""

from __future__ import annotations


class LaptopError(Exception):
    """The laptop cannot start or go on. The message is one line: cause, setting, log."""


class LaptopInterrupted(Exception):
    """Somebody asked the laptop to stop while it was still starting."""
