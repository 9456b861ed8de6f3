"""Runs the work of timers. Entry points: `Ticker.tick`, `SharedTimer.tick`, `schedule_every`.

A tick does nothing while the one before is still running, and a tick that cannot reach storage logs
that and leaves the work to the next. So ticks do not pile up.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import azure.functions as func

from aos.errors import TransientError

if TYPE_CHECKING:  # the schedules are needed before anything else is imported
    from aos.ports.system import Clock
    from aos.ports.telemetry import Telemetry

TICK_SECONDS = 240.0
EARLY_SECONDS = 1.0
"""How much before its time a host may fire a timer."""


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


class SharedTimer:
    """One timer function for work with different periods, because each tick is billed.

    It ticks with the shortest period. Work with a longer one is due at the first tick of each of
    its own periods, counted from midnight in UTC: a process that lives for one tick knows that too.
    """

    def __init__(self, work: Mapping[Ticker, int], *, clock: Clock) -> None:
        """`work` maps each ticker to its period in seconds."""
        self._work = work
        self._clock = clock
        self._period = min(work.values())
        self._last: dict[Ticker, int] = {}

    async def tick(self, timer: func.TimerRequest) -> None:
        """Do what is due, all at once. An unexpected error of one does not stop the others; it is
        raised at the end."""
        now = self._clock.now().timestamp() + EARLY_SECONDS
        is_late = timer is not None and timer.past_due
        due = [ticker for ticker in self._work if is_late or self._is_due(ticker, now)]
        for ticker in due:
            self._last[ticker] = int(now // self._work[ticker])
        ends = await asyncio.gather(*(it.tick(timer) for it in due), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    def _is_due(self, ticker: Ticker, now: float) -> bool:
        every, last = self._work[ticker], self._last.get(ticker)
        if every == self._period:
            return True
        if last is not None:
            return int(now // every) > last
        return now % every < self._period
