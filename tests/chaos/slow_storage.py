"""Passes bytes on, late if asked to. Entry point: `SlowProxy`."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from devhost.ports import HOST

START_SECONDS = 10.0


class SlowProxy:
    """Stands before ports; while `delay` is not 0, each piece of a request waits that long."""

    def __init__(self, targets: Mapping[str, int]) -> None:
        self.ports: dict[str, int] = {}
        self.delay = 0.0
        self._targets = dict(targets)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slow proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(START_SECONDS):
            raise RuntimeError("the slow proxy did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(START_SECONDS)

    def _stop(self) -> None:
        """End the open connections, then the loop."""
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.call_later(0.1, self._loop.stop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._ready.set()
        self._loop.run_forever()

    async def _listen(self) -> None:
        for name, target in self._targets.items():

            async def serve(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int = target
            ) -> None:
                with contextlib.suppress(asyncio.CancelledError):  # the proxy stops
                    await self._pass(target, reader, writer)

            server = await asyncio.start_server(serve, HOST, 0)
            self.ports[name] = server.sockets[0].getsockname()[1]

    async def _pass(
        self, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            back_reader, back_writer = await asyncio.open_connection(HOST, target)
        except OSError:
            writer.close()
            return
        sides = {
            asyncio.create_task(self._copy(reader, back_writer, late=True)),
            asyncio.create_task(self._copy(back_reader, writer, late=False)),
        }
        await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        for task in sides:
            task.cancel()
        for side in (writer, back_writer):
            side.close()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, late: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if late and self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
