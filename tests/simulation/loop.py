"""How does asyncio run when time is only a number?

`VirtualLoop` is an event loop without sockets or threads: when nothing is ready it jumps to the
next timer. What asyncio's primitives need of a loop is here, and nothing else.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

START = datetime(2030, 1, 1, tzinfo=UTC)
NEVER = float("inf")


class Timer:
    """A callback that can be called off."""

    __slots__ = ("args", "callback", "cancelled")

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.callback = callback
        self.args = args
        self.cancelled = False

    def cancel(self) -> None:
        """Call it off."""
        self.cancelled = True


class VirtualLoop(asyncio.AbstractEventLoop):
    """An event loop on virtual time. `stop` ends `run_to` before its next callback."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.stopped = False
        self.errors: list[dict[str, Any]] = []
        self._ready: deque[Timer] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = count()

    def run_to(self, until: float = NEVER) -> None:
        """Run what is ready and due, until then; or until nothing is left to happen."""
        ready, timers = self._ready, self._timers
        asyncio._set_running_loop(self)
        try:
            while not self.stopped:
                if ready:
                    timer = ready.popleft()
                elif timers and timers[0][0] <= until:
                    when, _, timer = heapq.heappop(timers)
                    if not timer.cancelled and when > self.seconds:
                        self.seconds = when
                else:
                    break
                if not timer.cancelled:
                    timer.callback(*timer.args)
        finally:
            asyncio._set_running_loop(None)

    def time(self) -> float:
        """Virtual seconds."""
        return self.seconds

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        """Run it in this turn of the loop."""
        timer = Timer(callback, args)
        self._ready.append(timer)
        return timer

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        """Run it in so many seconds."""
        timer = Timer(callback, args)
        heapq.heappush(self._timers, (self.seconds + delay, next(self._numbers), timer))
        return timer

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        """Run it at that second."""
        return self.call_later(max(0.0, when - self.seconds), callback, *args)

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], **_: Any) -> asyncio.Task[Any]:  # type: ignore[override]
        """A task of this loop."""
        return asyncio.Task(coro, loop=self, name="t")

    def pause(self, seconds: float) -> asyncio.Future[None]:
        """Something to await for so many seconds: cheaper than asyncio.sleep."""
        future: asyncio.Future[None] = asyncio.Future(loop=self)
        self.call_later(seconds, _wake, future)
        return future

    def cancel_all(self) -> None:
        """Call off what still waits for a moment, and let its tasks end."""
        self.stopped = False
        for _, _, timer in self._timers:
            for future in timer.args:
                if isinstance(future, asyncio.Future):
                    future.cancel()
            timer.cancel()
        self.run_to(self.seconds)
        for task in asyncio.all_tasks(self):  # what waits for something else than a moment
            task.cancel()
        self.run_to(self.seconds)

    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_running(self) -> bool:
        """Always, as far as asyncio asks."""
        return True

    def is_closed(self) -> bool:
        """Never closed."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """An exception that nobody looked at is an error of the simulated program."""
        self.errors.append(context)


class VirtualClock:
    """A clock in the simulation, in whole milliseconds as on the wire; it may go wrong by `skew`
    seconds, as the clocks of machines do."""

    def __init__(self, loop: VirtualLoop, *, skew: float = 0.0) -> None:
        self._loop = loop
        self._skew = skew
        self._at = -1.0
        self._now = START

    def now(self) -> datetime:
        """Virtual time."""
        seconds = self._loop.seconds
        if seconds != self._at:  # it is asked again and again within one step
            self._at = seconds
            self._now = START + timedelta(milliseconds=int((seconds + self._skew) * 1000))
        return self._now

    def monotonic(self) -> float:
        """Virtual seconds."""
        return self._loop.seconds

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._loop.pause(max(seconds, 0.0))


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
