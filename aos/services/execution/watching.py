"""How is cancellation seen while something is awaited?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from aos.errors import RunFailed, TransientError
from aos.ports.requests import RequestStore

WATCH_SECONDS = 1.0
T = TypeVar("T")


class CancelAsked(Exception):
    """Raised inside a turn when `cancel_requested_at` was seen."""


class Watch:
    """Looks for cancellation every second while something is awaited."""

    def __init__(
        self, requests: RequestStore, run_id: str, on_slow: Callable[[], Awaitable[None]]
    ) -> None:
        self._requests = requests
        self._run_id = run_id
        self._on_slow = on_slow
        self._slow = False

    async def over(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`; raises CancelAsked, the work then cancelled."""
        task = asyncio.ensure_future(work)
        try:
            while True:
                done, _ = await asyncio.wait({task}, timeout=WATCH_SECONDS)
                if done:
                    return task.result()
                await self._look()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, TransientError, RunFailed):
                await task  # also when it is done: else its error would be reported as unseen

    async def _look(self) -> None:
        if not self._slow:
            self._slow = True
            await self._on_slow()
        with contextlib.suppress(TransientError):
            if await self._requests.cancel_asked(self._run_id):
                raise CancelAsked
