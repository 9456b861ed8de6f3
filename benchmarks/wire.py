"""Sends HTTP for the benchmarks at almost no cost. Entry point: `Connection`.

`Connection` is one keep-alive connection on a raw asyncio stream, with one request at a time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

TIMEOUT_SECONDS = 60.0


class Connection:
    """One client of one server: `async with Connection(url) as client`."""

    def __init__(self, url: str) -> None:
        """`url` is the base URL, such as `http://127.0.0.1:7071`."""
        self._host = url.removeprefix("http://").rstrip("/")
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Connection:
        host, port = self._host.split(":")
        self._reader, self._writer = await asyncio.open_connection(host, int(port))
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._writer is not None:
            self._writer.close()

    async def post(self, path: str, body: dict[str, Any], *, expect: int = 200) -> dict[str, Any]:
        """POST JSON and return the JSON answer. Raises RuntimeError for any other status."""
        raw = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(raw)}\r\n\r\n"
        )
        async with asyncio.timeout(TIMEOUT_SECONDS):
            status, answer = await self._exchange(head.encode() + raw)
        if status != expect:
            raise RuntimeError(f"{path} answered {status}: {answer[:300]!r}")
        parsed: dict[str, Any] = json.loads(answer)
        return parsed

    async def send(
        self, path: str, body: Mapping[str, Any], *, headers: Mapping[str, str]
    ) -> bytes:
        """POST JSON and return the whole answer, a stream too. Raises RuntimeError for any status
        but 200."""
        raw = json.dumps(body).encode()
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
            f"{more}Content-Length: {len(raw)}\r\n\r\n"
        )
        async with asyncio.timeout(TIMEOUT_SECONDS):
            status, answer = await self._exchange(head.encode() + raw)
        if status != 200:
            raise RuntimeError(f"{path} answered {status}: {answer[:300]!r}")
        return answer

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        assert self._reader is not None
        assert self._writer is not None
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status, length = int(head.split(b" ", 2)[1]), 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            elif line.startswith(b"transfer-encoding:"):
                return status, await self._read_chunks()
        return status, await self._reader.readexactly(length)

    async def _read_chunks(self) -> bytes:
        assert self._reader is not None
        pieces = []
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            pieces.append((await self._reader.readexactly(size + 2))[:-2])
        await self._reader.readexactly(2)
        return b"".join(pieces)
