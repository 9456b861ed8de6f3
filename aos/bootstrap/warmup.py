"""Imports the SDKs and opens slow connections ahead of their first use. Entry point: `Warmup`.

One daemon thread imports the modules: a moment after the start, so that `GET /api/status` comes
first, or at once when something needs them. What needs them awaits `ready`. Imports then do not
block the event loop, and two threads do not import the same packages at once. Connections are
opened in the background after the first `ready`.
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
    """The warm-up of one app: imports `modules`, then awaits `then` once, in the background."""

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
        """Start the warm-up and return at once."""
        self._imported.set_running_or_notify_cancel()
        threading.Thread(target=self._import, name="warmup", daemon=True).start()

    async def ready(self) -> None:
        """Wait until the SDKs are imported. Raises what an import raised."""
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
        except Exception as error:  # noqa: BLE001 - whatever an import raises, `ready` must hear of it
            self._imported.set_exception(error)
        else:
            self._imported.set_result(None)

    async def _open(self) -> None:
        """Open the connections. One that fails is opened by its first use, which gets the error."""
        with contextlib.suppress(AosError):
            await self._then()
