"""Answers `GET /health` as the official emulator does, and reads of administration clients. Entry
point: `HttpPort.answer`."""

from __future__ import annotations

import asyncio
import json

from devhost.servicebus.atom import Atom

REQUEST_TIMEOUT_SECONDS = 10.0
MAX_HEAD_BYTES = 16_384


class HttpPort:
    """The HTTP port of one broker."""

    def __init__(self, atom: Atom) -> None:
        self._atom = atom

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close the connection."""
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._respond(head.decode("latin-1")))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # the client has gone, or has sent no request
        finally:
            writer.close()

    def _respond(self, head: str) -> bytes:
        request, *lines = head.split("\r\n")
        method, _, rest = request.partition(" ")
        target = rest.partition(" ")[0]
        if target.partition("?")[0].rstrip("/") == "/health":
            return _answer_health(method)
        headers = {name.strip().lower(): value.strip() for name, _, value in _split(lines)}
        answer = self._atom.answer(method, target, headers.get("authorization"))
        return _write(answer.status, answer.media_type, answer.body.encode(), method=method)


def _split(lines: list[str]) -> list[tuple[str, str, str]]:
    return [line.partition(":") for line in lines if line]


def _answer_health(method: str) -> bytes:
    if method not in ("GET", "HEAD"):
        status, body = "405 Method Not Allowed", {"error": "method not allowed"}
    else:
        status, body = "200 OK", {"status": "healthy"}
    content = json.dumps(body, separators=(",", ":")).encode()
    return _write(status, "application/json", content, method=method)


def _write(status: str, media_type: str, content: bytes, *, method: str) -> bytes:
    lines = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {media_type}",
        f"Content-Length: {len(content)}",
        "Connection: close",
        "\r\n",
    )
    return "\r\n".join(lines).encode() + (b"" if method == "HEAD" else content)
