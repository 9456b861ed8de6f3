"""Passes the bytes between clients and the ports of services. Entry point: `Proxy`.

`delay` makes each request wait, as a service in another building does: the first bytes after an
answer are passed on that many seconds later. A subclass overrides `watch` to read what passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import re
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol, Self

from devhost.ports import HOST

START_SECONDS = 10.0
ASKED = 50
BUS = "bus"
"""The service whose requests are never late: its links carry messages, not calls."""
_REQUEST = re.compile(rb"^([A-Z]+) (\S+) HTTP/1\.1\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)
_LAST_CHUNK = b"0\r\n\r\n"


class Watcher(Protocol):
    """Reads the bytes of one connection."""

    def read_request(self, data: bytes) -> None:
        """Read the next bytes of the client."""

    def read_answer(self, data: bytes) -> None:
        """Read the next bytes of the service."""


class Proxy:
    """Passes connections on to the given ports: `with Proxy({"table": 10002}) as proxy`.

    `ports` says where it listens for each service. `delay` may change at any time.
    """

    def __init__(self, targets: Mapping[str, int], *, delay: float = 0.0) -> None:
        """`targets` maps a service name (`blob`, `table` …) to the port where it listens."""
        self.ports: dict[str, int] = {}
        self.delay = delay
        self._targets = dict(targets)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._stopping = asyncio.Event()
        self._passing: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve()), name="proxy", daemon=True
        )

    def watch(self, service: str, client_port: int) -> Watcher | None:
        """Return what reads a new connection, if anything does."""
        return None

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(START_SECONDS):
            raise RuntimeError("the proxy did not start")
        return self

    def __exit__(self, *error: object) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout=START_SECONDS)

    def measure_excess(self, service: str, delay: float) -> float:
        """How much longer than `delay` a small request waits in this proxy, in seconds: for the
        proxy's own work, and for timers that are late."""
        direct = _time_requests(self._targets[service])
        before, self.delay = self.delay, delay
        try:
            return max(0.0, _time_requests(self.ports[service]) - direct - delay)
        finally:
            self.delay = before

    async def _serve(self) -> None:
        """Listen until the block ends, then end the open connections."""
        self._loop = asyncio.get_running_loop()
        servers = [await self._listen(*target) for target in self._targets.items()]
        self._ready.set()
        await self._stopping.wait()
        for server in servers:
            server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)
        await asyncio.sleep(0)  # the transports tell their ends

    async def _listen(self, service: str, target: int) -> asyncio.Server:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._pass(service, target, reader, writer))
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)

        server = await asyncio.start_server(serve, HOST, 0)
        self.ports[service] = server.sockets[0].getsockname()[1]
        return server

    async def _pass(
        self,
        service: str,
        target: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        try:
            back_reader, back_writer = await asyncio.open_connection(HOST, target)
        except OSError:
            writer.close()
            return
        watcher = self.watch(service, writer.get_extra_info("peername")[1])
        passage = _Passage(self, watcher, late=service != BUS)
        sides = {
            asyncio.create_task(passage.pass_requests(reader, back_writer)),
            asyncio.create_task(passage.pass_answers(back_reader, writer)),
        }
        try:
            await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in sides:
                task.cancel()
            await asyncio.gather(*sides, return_exceptions=True)
            for side in (writer, back_writer):
                side.close()
                with contextlib.suppress(OSError):
                    await side.wait_closed()


def _time_requests(port: int) -> float:
    """The median time of a request that the service refuses at once, in seconds."""
    took = []
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=10.0)) as connection:
        for _ in range(ASKED):
            began = time.perf_counter()
            connection.request("GET", "/nobody")
            connection.getresponse().read()
            took.append(time.perf_counter() - began)
    return statistics.median(took)


class _Passage:
    """One connection. Its requests come one after the other."""

    def __init__(self, proxy: Proxy, watcher: Watcher | None, *, late: bool) -> None:
        self._proxy = proxy
        self._watcher = watcher
        self._late = late
        self._is_answered = True

    async def pass_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self._watcher is not None:
                    self._watcher.read_request(data)
                begins, self._is_answered = self._is_answered, False
                if begins and self._late and self._proxy.delay:
                    await asyncio.sleep(self._proxy.delay)
                writer.write(data)
                await writer.drain()

    async def pass_answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self._watcher is not None:
                    self._watcher.read_answer(data)
                self._is_answered = True
                writer.write(data)
                await writer.drain()


class RequestReader:
    """Finds the requests in the bytes of one keep-alive connection.

    `on_head(method, path)` is called when a request begins, `on_end(body)` when all of it was sent.
    """

    def __init__(
        self,
        on_head: Callable[[str, str], None],
        on_end: Callable[[bytes], None] = lambda body: None,
    ) -> None:
        self._on_head = on_head
        self._on_end = on_end
        self._buffer = b""
        self._body_end: Callable[[bytes], int] | None = None
        """In a body: returns where it ends in the buffer, or -1 while it goes on."""

    def feed(self, data: bytes) -> None:
        """Read the next bytes of the client."""
        self._buffer += data
        while self._buffer and (self._end_body() if self._body_end else self._begin()):
            pass

    def _begin(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
        found = _REQUEST.match(head)
        if found is None:
            return True
        self._on_head(found[1].decode(), found[2].decode())
        size = _LENGTH.search(head)
        if size is None and _CHUNKED.search(head):
            self._body_end = _find_last_chunk
        else:
            length = int(size[1]) if size else 0
            self._body_end = lambda buffer: length if len(buffer) >= length else -1
            if not length:
                self._end_body()
        return True

    def _end_body(self) -> bool:
        assert self._body_end is not None
        end = self._body_end(self._buffer)
        if end < 0:
            return False
        body, self._buffer, self._body_end = self._buffer[:end], self._buffer[end:], None
        self._on_end(body)
        return True


def _find_last_chunk(buffer: bytes) -> int:
    if buffer.startswith(_LAST_CHUNK):
        return len(_LAST_CHUNK)
    found = buffer.find(b"\r\n" + _LAST_CHUNK)
    return found + 2 + len(_LAST_CHUNK) if found >= 0 else -1
