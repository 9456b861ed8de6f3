"""A timer runs on its schedule, one call at a time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, tzinfo

import pytest

from devhost.functions.errors import LoadError
from devhost.functions.indexing import LoadedFunction
from devhost.functions.invocation import Invoker
from devhost.functions.timers import Timer
from tests.unit.functions.conftest import Load

BOUND_SECONDS = 5.0
NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


class Clock:
    """Jumps by ten milliseconds short of a second with every look, so that little is slept."""

    def __init__(self) -> None:
        self.moment = NOON

    def now(self, zone: tzinfo) -> datetime:
        self.moment += timedelta(milliseconds=990)
        return self.moment.astimezone(zone)


def _timer(load: Load, decorator: str) -> LoadedFunction:
    (function,) = load(
        f"""
        import asyncio
        calls = []
        called = asyncio.Event()
        ended = asyncio.Event()
        most = running = 0

        @app.timer_trigger("timer", {decorator})
        async def tick(timer: func.TimerRequest) -> None:
            global most, running
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1
            calls.append((timer.past_due, timer.schedule_status["Next"]))
            ended.set()
            if len(calls) == 3:
                called.set()
            if len(calls) == 1:
                raise RuntimeError("the first call fails")
        """
    )
    return function


async def test_it_goes_on_after_a_failure_and_never_runs_twice_at_once(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    function = _timer(load, '"* * * * * *"')
    app = function.call.__globals__
    timer = Timer(function, Invoker(timeout_seconds=None), now=Clock().now)
    await timer.start()
    async with asyncio.timeout(BOUND_SECONDS):
        await app["called"].wait()
    await timer.stop_intake()
    await timer.close()
    assert (app["most"], app["calls"][0][0]) == (1, False)
    assert '"event": "function.failed"' in capsys.readouterr().out


async def test_run_on_startup_calls_at_once(load: Load) -> None:
    function = _timer(load, '"0 0 0 1 1 *", run_on_startup=True')
    app = function.call.__globals__
    timer = Timer(function, Invoker(timeout_seconds=None))
    await timer.start()
    async with asyncio.timeout(BOUND_SECONDS):
        await app["ended"].wait()
    await timer.close()
    assert app["calls"][0][0] is True


def test_a_wrong_schedule_is_refused_at_load(load: Load) -> None:
    with pytest.raises(LoadError, match="the tick function: the schedule"):
        Timer(_timer(load, '"often"'), Invoker(timeout_seconds=None))
