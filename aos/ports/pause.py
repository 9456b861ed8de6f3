"""Tells whether AOS is paused. Entry point: `PauseState`."""

from __future__ import annotations

from typing import Protocol

from aos.domain.pause import Pause


class PauseState(Protocol):
    """The switch that an admin sets. While it is set, nothing new is admitted."""

    async def find_pause(self) -> Pause | None:
        """Return the pause, as known for at most two seconds; None: AOS is not paused.

        Raises TransientError only when storage is away and was never read.
        """
        ...
