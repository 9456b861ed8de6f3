"""Reads streams of run events at almost no cost. Entry point: `read_events`."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

READ_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One event as it came: when (`time.monotonic`), its id and type, and its JSON."""

    at: float
    id: str
    type: str
    text: bytes

    @property
    def data(self) -> dict[str, Any]:
        """Return the event's data."""
        read: dict[str, Any] = json.loads(self.text)["data"]
        return read


async def read_events(
    url: str, path: str, *, body: dict[str, Any] | None = None
) -> AsyncIterator[Told]:
    """Yield the events of one stream as they come. With `body` it is a POST.

    Raises RuntimeError for another answer than a stream.
    """
    reader, writer = await _send(url, path, body)
    rest = b""
    try:
        async with asyncio.timeout(READ_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200") or b"text/event-stream" not in head.lower():
            raise RuntimeError(f"{path} is not streamed: {head[:300]!r}")
        while True:
            async with asyncio.timeout(READ_SECONDS):
                size = int(await reader.readuntil(b"\r\n"), 16)
                piece = await reader.readexactly(size + 2)
            *blocks, rest = (rest + piece[:-2]).split(b"\n\n")
            at = time.monotonic()
            for block in blocks:
                if block.startswith(b"id: "):
                    yield _parse(block, at)
            if not size:
                return
    finally:
        writer.close()


async def open_without_reading(url: str, path: str) -> socket.socket:
    """Ask for a stream on a connection with little room, and read nothing of the answer."""
    host, port = _split(url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, (host, port))
    await loop.sock_sendall(connection, _write_request(url, path, None))
    return connection


async def _send(
    url: str, path: str, body: dict[str, Any] | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = _split(url)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(_write_request(url, path, body))
    return reader, writer


def _write_request(url: str, path: str, body: dict[str, Any] | None) -> bytes:
    raw = b"" if body is None else json.dumps(body).encode()
    more = f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n" if raw else ""
    host = url.removeprefix("http://")
    head = f"{'POST' if raw else 'GET'} {path} HTTP/1.1\r\nHost: {host}\r\n{more}"
    return f"{head}Accept: text/event-stream\r\nConnection: close\r\n\r\n".encode() + raw


def _split(url: str) -> tuple[str, int]:
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    return host, int(port)


def _parse(block: bytes, at: float) -> Told:
    fields = dict(line.split(b": ", 1) for line in block.split(b"\n"))
    return Told(
        at=at, id=fields[b"id"].decode(), type=fields[b"event"].decode(), text=fields[b"data"]
    )
