"""What stands between the table stores and real tables to show what an SDK's caller may meet?

`CuttingProxy` passes connections on to real tables, and on demand swallows the answer to the next
request, a part of it, or the request itself; `answering` is a stub that gives every request one
fixed answer, and `replying` one that asks a function for each. All work at the HTTP boundary; the
SDK and the adapters are the real ones.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from aiohttp import web

Fault = Literal["none", "cut the answer", "cut within the answer", "cut the request", "no answer"]


class CuttingProxy:
    """A TCP proxy in front of a table endpoint; `fault` holds for what comes after it is set."""

    def __init__(self, table_url: str) -> None:
        parts = urlsplit(table_url)
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path
        self._pumps: set[asyncio.Task[None]] = set()
        self.fault: Fault = "none"
        self.url = ""
        self.requests = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[CuttingProxy]:
        """Listen on a free port while the context lasts."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()[:2]
        self.url = f"http://{host}:{port}{self._path}"
        try:
            yield self
        finally:
            server.close()
            for pump in self._pumps:
                pump.cancel()
            await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        task.add_done_callback(self._pumps.discard)
        with contextlib.suppress(ConnectionError), _closing(writer):
            upstream_reader, upstream = await asyncio.open_connection(self._host, self._port)
            with _closing(upstream):
                passing = (
                    asyncio.ensure_future(self._pass_requests(reader, upstream)),
                    asyncio.ensure_future(self._pass_answers(upstream_reader, writer)),
                )
                try:
                    await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for side in passing:
                        side.cancel()
                    await asyncio.gather(*passing, return_exceptions=True)

    async def _pass_requests(
        self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65536):
            self.requests += 1
            if self.fault == "cut the request":
                return
            upstream.write(data)
            await upstream.drain()

    async def _pass_answers(
        self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await upstream.read(65536):
            if self.fault == "cut the answer":
                return
            if self.fault == "no answer":
                continue
            if self.fault == "cut within the answer":
                writer.write(data[:-9])
                await writer.drain()
                return
            writer.write(data)
            await writer.drain()


@contextlib.contextmanager
def _closing(writer: asyncio.StreamWriter) -> Iterator[None]:
    try:
        yield
    finally:
        writer.transport.abort()


@dataclass(slots=True)
class Stub:
    """A table endpoint of a test; how often it was asked."""

    url: str = ""
    requests: int = 0


Reply = Callable[[web.Request, int], Awaitable[web.Response]]
"""Makes the answer to a request, whose number is given, from 1."""


@contextlib.asynccontextmanager
async def answering(
    status: int, *, code: str, headers: dict[str, str] | None = None
) -> AsyncIterator[Stub]:
    """A table endpoint that answers everything with this status."""
    body = {"odata.error": {"code": code, "message": {"lang": "en-US", "value": "as told"}}}

    async def reply(_: web.Request, number: int) -> web.Response:
        return web.json_response(body, status=status, headers=headers)

    async with replying(reply) as stub:
        yield stub


@contextlib.asynccontextmanager
async def replying(reply: Reply) -> AsyncIterator[Stub]:
    """A table endpoint that answers what `reply` returns."""
    stub = Stub()

    async def answer(request: web.Request) -> web.Response:
        stub.requests += 1
        return await reply(request, stub.requests)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        stub.url = f"http://{host}:{port}/devstoreaccount1"
        yield stub
    finally:
        await runner.cleanup()
