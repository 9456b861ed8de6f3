"""When are the SDKs imported, and the slow connections opened?

One daemon thread imports the SDKs: a moment after the start, so that `GET /api/status` comes
first, or at once when something needs them. Whoever needs them awaits `ready`: no import then
blocks the event loop, and no two threads import the same packages at once. What is slow to open
is opened in the background after the first `ready`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future

from aos.errors import AosError

HEAD_START_SECONDS = 0.5


class Warmup:
    """The warming up of one app; `modules` are imported, then `opened` is awaited once."""

    def __init__(
        self,
        modules: Sequence[str],
        *,
        then: Callable[[], Awaitable[None]],
        head_start_seconds: float = HEAD_START_SECONDS,
    ) -> None:
        self._modules = modules
        self._then = then
        self._head_start = head_start_seconds
        self._wanted = threading.Event()
        self._imported: Future[None] = Future()
        self._opening: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; returns at once."""
        self._imported.set_running_or_notify_cancel()
        threading.Thread(target=self._import, name="warmup", daemon=True).start()

    async def ready(self) -> None:
        """Wait until the SDKs are imported; raises ImportError where one is missing."""
        if not self._imported.done():
            self._wanted.set()
            await asyncio.wrap_future(self._imported)
        self._imported.result()
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())

    def _import(self) -> None:
        self._wanted.wait(self._head_start)
        try:
            for module in self._modules:
                importlib.import_module(module)
        except ImportError as error:
            self._imported.set_exception(error)
        else:
            self._imported.set_result(None)

    async def _open(self) -> None:
        """What does not open now is opened by who needs it, who then sees the error."""
        with contextlib.suppress(AosError):
            await self._then()
