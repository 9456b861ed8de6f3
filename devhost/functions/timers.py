"""Runs a timer function on its schedule, never twice at once. Entry point: `Timer`."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from azure.functions.meta import Datum

from devhost.functions.errors import HostError, LoadError
from devhost.functions.indexing import LoadedFunction
from devhost.functions.invocation import Invoker
from devhost.functions.log import say_failed, watch_task
from devhost.functions.ncrontab import parse_schedule


class Timer:
    """One timer function. Occurrences missed during a call are skipped."""

    def __init__(
        self,
        function: LoadedFunction,
        invoker: Invoker,
        *,
        now: Callable[[tzinfo], datetime] = datetime.now,
    ) -> None:
        self._function = function
        self._invoker = invoker
        self._now = now
        self._zone = _time_zone()
        self._task: asyncio.Task[None] | None = None
        self._waiting = False
        self._stopping = False
        try:
            self._schedule = parse_schedule(str(function.trigger["schedule"]))
            self._schedule.find_next_after(now(self._zone))
        except HostError as error:
            raise LoadError(function.name, str(error), remedy="see NCRONTAB expressions") from error

    async def start(self) -> None:
        """Wait for the first occurrence; with runOnStartup, run at once."""
        task = asyncio.create_task(self._run_loop(), name=f"timer {self._function.name}")
        self._task = watch_task(task)

    async def stop_intake(self) -> None:
        """Start no further call. A running call continues."""
        self._stopping = True
        if self._task is not None and self._waiting:
            self._task.cancel()

    async def close(self) -> None:
        """End the timer and its running call."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=1)

    async def _run_loop(self) -> None:
        last: datetime | None = None
        if self._function.trigger.get("runOnStartup"):
            last = self._now(self._zone)
            await self._run(last, last, past_due=True)
        while not self._stopping:
            due = self._schedule.find_next_after(self._now(self._zone))
            await self._sleep_until(due)
            await self._run(last, due, past_due=False)
            last = due

    async def _sleep_until(self, due: datetime) -> None:
        self._waiting = True
        try:
            while True:
                left = (due - self._now(self._zone)).total_seconds()
                if left <= 0:
                    return
                await asyncio.sleep(min(left, 60.0))
        finally:
            self._waiting = False

    async def _run(self, last: datetime | None, due: datetime, *, past_due: bool) -> None:
        following = self._schedule.find_next_after(due)
        info = {
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": {
                "Last": (last or datetime.min.replace(tzinfo=UTC)).isoformat(),
                "Next": following.isoformat(),
                "LastUpdated": (last or datetime.min.replace(tzinfo=UTC)).isoformat(),
            },
            "IsPastDue": past_due,
        }
        try:
            await self._invoker.call(self._function, Datum(json.dumps(info), "json"), {})
        except Exception as error:
            say_failed(self._function.name, error)


def _time_zone() -> tzinfo:
    name = os.environ.get("WEBSITE_TIME_ZONE")
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise HostError(f"WEBSITE_TIME_ZONE {name!r} is not an IANA time zone") from error
