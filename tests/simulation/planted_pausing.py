"""Plants bugs in the pause, to see whether the simulation finds them. Entry point:
`PLANTED_IN_PAUSING`."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from aos.domain.pause import Pause
from aos.domain.retries import retry_pause
from aos.entrypoints.bus.requests import RequestQueue
from aos.ports.bus import ReceivedMessage
from aos.services.catalog.pause_switch import PauseSwitch

LONG = timedelta(seconds=60)


def waiting_request_forgotten() -> contextlib.AbstractContextManager[Any]:
    """A request that comes in a pause is completed, and no copy of it waits."""

    async def wait(self: RequestQueue, message: ReceivedMessage) -> bool:
        return True

    return patch.object(RequestQueue, "_wait_for_resume", wait)


def pause_counts_as_an_attempt() -> contextlib.AbstractContextManager[Any]:
    """A request that waits for the end of a pause waits longer each time."""

    async def wait(self: RequestQueue, message: ReceivedMessage) -> bool:
        at = self._clock.now() + message.lag + retry_pause(message.attempt)
        await self._bus.postpone(message, at=at, attempt=message.attempt + 1)
        return True

    return patch.object(RequestQueue, "_wait_for_resume", wait)


def pause_seen_late() -> contextlib.AbstractContextManager[Any]:
    """An instance looks at the switch once a minute."""
    real = PauseSwitch.find_pause
    seen: dict[PauseSwitch, tuple[Any, Pause | None]] = {}

    async def find(self: PauseSwitch) -> Pause | None:
        now = self._clock.now()
        if self not in seen or now - seen[self][0] > LONG:
            seen[self] = now, await real(self)
        return seen[self][1]

    return patch.object(PauseSwitch, "find_pause", find)


PLANTED_IN_PAUSING = {
    "waiting_request_forgotten": waiting_request_forgotten,
    "pause_counts_as_an_attempt": pause_counts_as_an_attempt,
    "pause_seen_late": pause_seen_late,
}
"""These bugs by their names on the command line."""
