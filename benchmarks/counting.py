"""Counts the storage calls and bus messages between the apps and their services. Entry point:
`CountingProxy`.

The proxy counts HTTP requests by service, method and object, with their bytes and the time until
their answers. On the service named `bus` it counts the messages that clients send, apart from what
they ask of the broker itself: to look into a queue, or to show a token. It changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol

from devhost.ports import HOST

START_SECONDS = 10.0
BUS = "bus"
BUS_REQUESTS = "bus requests"
FRAME_HEAD = 8
TRANSFER = b"\x00\x53\x14"
OPERATION = b"\xa1\x09operation"
"""The property that a request to a broker's node has and a message has not."""
_REQUEST = re.compile(rb"^([A-Z]+) (\S+) HTTP/1\.1\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)


class CountingProxy:
    """Passes connections on to the given ports and counts requests.

    `calls` is the count so far, `bytes` what was sent and received with them, `seconds` the time
    from a request to the end of its answer. The bus has neither.
    """

    def __init__(self, targets: Mapping[str, int]) -> None:
        """`targets` maps a service name (`blob`, `table` …) to the port where it listens."""
        self.calls: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.seconds: dict[str, float] = defaultdict(float)
        self.ports: dict[str, int] = {}
        self._targets = dict(targets)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="counting proxy", daemon=True)

    def __enter__(self) -> CountingProxy:
        self._thread.start()
        if not self._ready.wait(START_SECONDS):
            raise RuntimeError("the counting proxy did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(timeout=START_SECONDS)

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
        for service, target in self._targets.items():

            async def serve(
                reader: asyncio.StreamReader,
                writer: asyncio.StreamWriter,
                service: str = service,
                target: int = target,
            ) -> None:
                with contextlib.suppress(asyncio.CancelledError):  # the proxy stops
                    await self._pass(service, target, reader, writer)

            server = await asyncio.start_server(serve, HOST, 0)
            self.ports[service] = server.sockets[0].getsockname()[1]

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
        counter: _Counter
        answers: _Counter | None = None
        if service == BUS:
            counter = _TransferCounter(self._count_message)
        else:
            meter = _Meter(self)
            counter = _RequestCounter(lambda line: self._count(service, line, meter), meter)
            answers = meter
        there = asyncio.create_task(_copy(reader, back_writer, counter))
        back = asyncio.create_task(_copy(back_reader, writer, answers))
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        for side in (writer, back_writer):
            side.close()
        there.cancel()
        back.cancel()

    def _count_message(self, frame: bytes) -> None:
        self.calls[BUS_REQUESTS if OPERATION in frame else BUS] += 1

    def _count(self, service: str, line: tuple[str, str], meter: _Meter) -> None:
        method, path = line
        about = path.split("?")[0].strip("/").split("/")
        name = re.split(r"[(%]", about[1])[0] if len(about) > 1 else ""
        kind = f"{service} {method} {name}".strip()
        self.calls[kind] += 1
        meter.begin(kind)


class _Counter(Protocol):
    """Reads the bytes that a client sends."""

    def feed(self, data: bytes) -> None:
        """Read the next bytes."""


class _TransferCounter:
    """Finds transfers in the AMQP frames of one connection: one for each message, unless it is
    huge."""

    def __init__(self, count: Callable[[bytes], None]) -> None:
        self._count = count
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        """Read the next bytes from the client."""
        self._buffer += data
        while len(self._buffer) >= FRAME_HEAD:
            size = FRAME_HEAD
            if not self._buffer.startswith(b"AMQP"):
                size = int.from_bytes(self._buffer[:4], "big")
                if len(self._buffer) < size:
                    return
                performative = self._buffer[4 * self._buffer[4] :][: len(TRANSFER)]
                if self._buffer[5] == 0 and performative == TRANSFER:
                    self._count(self._buffer[:size])
            self._buffer = self._buffer[size:]


class _Meter:
    """Adds the bytes and the seconds of the requests of one connection, which follow each other."""

    def __init__(self, proxy: CountingProxy) -> None:
        self._proxy = proxy
        self._kind: str | None = None
        self._mark = 0.0

    def begin(self, kind: str) -> None:
        """A request begins."""
        self._kind, self._mark = kind, time.perf_counter()

    def add_request(self, size: int) -> None:
        """The client sent bytes of its request."""
        if self._kind is not None:
            self._proxy.bytes[self._kind] += size

    def feed(self, data: bytes) -> None:
        """Read the next bytes of the answer."""
        if self._kind is not None:
            now = time.perf_counter()
            self._proxy.bytes[self._kind] += len(data)
            self._proxy.seconds[self._kind] += now - self._mark
            self._mark = now


class _RequestCounter:
    """Finds request lines in the bytes of one keep-alive connection."""

    def __init__(self, count: Callable[[tuple[str, str]], None], meter: _Meter) -> None:
        self._count = count
        self._meter = meter
        self._buffer = b""
        self._skip = 0

    def feed(self, data: bytes) -> None:
        """Read the next bytes from the client."""
        self._feed(data)
        self._meter.add_request(len(data))

    def _feed(self, data: bytes) -> None:
        if self._skip:
            used = min(self._skip, len(data))
            self._skip -= used
            data = data[used:]
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[: end + 4]
            found = _REQUEST.match(head)
            if found is None:
                self._buffer = self._buffer[end + 4 :]
                continue
            self._count((found[1].decode(), found[2].decode()))
            rest = self._buffer[end + 4 :]
            size = _LENGTH.search(head)
            if size is None and _CHUNKED.search(head):
                finish = rest.find(b"0\r\n\r\n")
                self._buffer = rest[finish + 5 :] if finish >= 0 else b""
                continue
            length = int(size[1]) if size else 0
            self._skip = max(0, length - len(rest))
            self._buffer = rest[length:]


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counter: _Counter | None
) -> None:
    try:
        while data := await reader.read(65536):
            if counter is not None:
                counter.feed(data)
            writer.write(data)
            await writer.drain()
    except OSError:
        return
