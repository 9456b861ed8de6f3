"""Hands back what a stopping process holds. Entry points: `Drain.begin`, `Drain.bound`.

A process that is about to end gets a signal (`aos.bootstrap.stopping`). What it is doing then gets
a few seconds; after that it is cancelled, and its message is abandoned, so that another instance
takes it at once. Without this the message, or its session, would stay locked for a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable


class HandedBack(Exception):
    """The work was cancelled because its process ends. Another instance does it."""


class Drain:
    """The work of one process that can be handed back.

    Only the work that is going on when the process is told to stop is cut short: each message is
    handed back at most once by a process, whatever its host does after that.
    """

    def __init__(self) -> None:
        self._going_on: dict[asyncio.Timeout, tuple[asyncio.AbstractEventLoop, float]] = {}

    @property
    def is_idle(self) -> bool:
        """Whether nothing is going on."""
        return not self._going_on

    def begin(self) -> None:
        """Cut short what is going on. May be called from a signal handler or another thread."""
        for scope, (loop, grace_seconds) in list(self._going_on.items()):
            loop.call_soon_threadsafe(self._cut, scope, loop, grace_seconds)

    def _cut(
        self, scope: asyncio.Timeout, loop: asyncio.AbstractEventLoop, grace_seconds: float
    ) -> None:
        if scope in self._going_on and not scope.expired():
            scope.reschedule(loop.time() + grace_seconds)

    async def wait(self, pause: Callable[[], Awaitable[None]]) -> None:
        """Wait for `pause()`, or until the process is told to stop."""
        with contextlib.suppress(HandedBack):
            async with self.bound(grace_seconds=0.0):
                await pause()

    @contextlib.asynccontextmanager
    async def bound(self, *, grace_seconds: float) -> AsyncIterator[None]:
        """Cancel the block `grace_seconds` after the process is told to stop.

        Raises HandedBack if that happened.
        """
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._going_on[scope] = (asyncio.get_running_loop(), grace_seconds)
                try:
                    yield
                finally:
                    del self._going_on[scope]
        except TimeoutError as error:
            if scope.expired():
                raise HandedBack("the process ends; another instance goes on") from error
            raise
