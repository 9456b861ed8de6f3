"""What is done by the clock: main publishes the catalog and mends, mcp lists tools?

A tick that finds the one before still at work does nothing, and one that finds storage away says
so and leaves it to the next: ticks do not pile up.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import azure.functions as func

from aos.errors import TransientError

if TYPE_CHECKING:  # main's schedules are wanted before anything else is
    from aos.ports import Telemetry

TICK_SECONDS = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedules:
    """When the timers fire, as NCRONTAB expressions in UTC."""

    catalog: str
    mender: str


ON_A_LAPTOP = Schedules(catalog="*/5 * * * * *", mender="*/5 * * * * *")
IN_AZURE = Schedules(catalog="0 */5 * * * *", mender="*/30 * * * * *")
LISTING_ON_A_LAPTOP = "*/5 * * * * *"
LISTING_IN_AZURE = "0 */5 * * * *"
"""When mcp looks for servers that no event told of. Events tell of all that are published."""


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
        """Do what is due. Raises what is a bug, so that the host counts it as a failure."""
        if self._busy:
            self._telemetry.log("tick_skipped", level="debug", timer=self._name)
            return
        self._busy = True
        try:
            await self._ready()
            async with asyncio.timeout(TICK_SECONDS):
                await self._work()
        except (TransientError, TimeoutError) as error:
            reason = str(error) or f"not done within {TICK_SECONDS:g} s"
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
