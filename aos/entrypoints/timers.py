"""Runs the work of timers. Entry points: `Ticker.tick`, `schedule_every`.

A tick does nothing while the one before is still running, and a tick that cannot reach storage logs
that and leaves the work to the next. So ticks do not pile up.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import azure.functions as func

from aos.errors import TransientError

if TYPE_CHECKING:  # the schedules are needed before anything else is imported
    from aos.ports.telemetry import Telemetry

TICK_SECONDS = 240.0


def schedule_every(seconds: int) -> str:
    """Return the NCRONTAB expression (UTC) of one of `aos.timer_settings.PERIODS`."""
    if seconds < 60:
        return f"*/{seconds} * * * * *"
    if seconds < 3600:
        return f"0 */{seconds // 60} * * * *"
    return "0 0 * * * *"


class Ticker:
    """One timer function."""

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[None]],
        *,
        telemetry: Telemetry,
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self._name = name
        self._work = work
        self._telemetry = telemetry
        self._ready = ready
        self._busy = False

    async def tick(self, timer: func.TimerRequest) -> None:
        """Do the work that is due. Raises unexpected errors, so that the host counts the tick as
        failed."""
        if self._busy:
            self._telemetry.log("tick_skipped", level="debug", timer=self._name)
            return
        self._busy = True
        try:
            await self._ready()
            async with asyncio.timeout(TICK_SECONDS):
                await self._work()
        except (TransientError, TimeoutError) as error:
            reason = str(error) or f"the tick did not end within {TICK_SECONDS:g} s"
            self._telemetry.log("tick_failed", level="warning", timer=self._name, reason=reason)
        except Exception as error:
            self._telemetry.log(
                "tick_broken",
                level="error",
                timer=self._name,
                reason=repr(error),
                traceback="".join(traceback.format_exception(error)),
            )
            raise
        finally:
            self._busy = False
