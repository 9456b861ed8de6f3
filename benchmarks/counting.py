"""Counts the storage calls and bus messages between the apps and their services. Entry point:
`CountingProxy`.

The proxy counts HTTP requests by service, method and object, with their bytes and the time until
their answers. On the service named `bus` it counts the messages that clients send, apart from what
they ask of the broker itself: to look into a queue, or to show a token. It changes nothing.
"""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

from benchmarks.proxy import BUS as BUS
from benchmarks.proxy import Proxy, RequestReader, Watcher

BUS_REQUESTS = "bus requests"
FRAME_HEAD = 8
TRANSFER = b"\x00\x53\x14"
DATA_SECTION = b"\x00\x53\x75"
OPERATION = b"\xa1\x09operation"
"""The property that a request to a broker's node has and a message has not."""


class CountingProxy(Proxy):
    """Passes connections on to the given ports and counts requests.

    `calls` is the count so far, `bytes` what was sent and received with them, `seconds` the time
    from a request to the end of its answer. The bus has neither.
    """

    def __init__(self, targets: Mapping[str, int], *, delay: float = 0.0) -> None:
        super().__init__(targets, delay=delay)
        self.calls: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.seconds: dict[str, float] = defaultdict(float)

    def watch(self, service: str, client_port: int) -> Watcher:
        """Return what counts the calls of a new connection."""
        if service == BUS:
            return _TransferCounter(self._count_message)
        return _RequestCounter(self, service)

    def _count_message(self, frame: bytes) -> None:
        if OPERATION in frame:
            self.calls[BUS_REQUESTS] += 1
        else:
            self.calls[BUS] += count_messages(frame)


def count_messages(frame: bytes) -> int:
    """Return the messages of a transfer. A batch has each in a section of data of its own, and each
    has its body in one."""
    return max(1, frame.count(DATA_SECTION) // 2)


class _TransferCounter:
    """Finds transfers in the AMQP frames of one connection: one for each message or batch, unless
    it is huge."""

    def __init__(self, count: Callable[[bytes], None]) -> None:
        self._count = count
        self._buffer = b""

    def read_request(self, data: bytes) -> None:
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

    def read_answer(self, data: bytes) -> None:
        """Ignore what the broker sends."""


class _RequestCounter:
    """Counts the requests of one connection, their bytes and their seconds."""

    def __init__(self, proxy: CountingProxy, service: str) -> None:
        self._proxy = proxy
        self._service = service
        self._requests = RequestReader(self._begin)
        self._kind: str | None = None
        self._mark = 0.0

    def read_request(self, data: bytes) -> None:
        """Read the next bytes from the client."""
        self._requests.feed(data)
        if self._kind is not None:
            self._proxy.bytes[self._kind] += len(data)

    def read_answer(self, data: bytes) -> None:
        """Read the next bytes of the answer."""
        if self._kind is not None:
            now = time.perf_counter()
            self._proxy.bytes[self._kind] += len(data)
            self._proxy.seconds[self._kind] += now - self._mark
            self._mark = now

    def _begin(self, method: str, path: str) -> None:
        about = path.split("?")[0].strip("/").split("/")
        name = re.split(r"[(%]", about[1])[0] if len(about) > 1 else ""
        self._kind = f"{self._service} {method} {name}".strip()
        self._mark = time.perf_counter()
        self._proxy.calls[self._kind] += 1
