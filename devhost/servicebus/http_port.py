"""Answers `GET /health` as the official emulator does. Entry point: `answer_http`.

The ATOM management API is not built.
"""

from __future__ import annotations

import asyncio
import json

REQUEST_TIMEOUT_SECONDS = 10.0
MAX_HEAD_BYTES = 16_384


async def answer_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request and close the connection."""
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(_answer(head))
            await writer.drain()
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
        pass  # the client has gone, or has sent no request
    finally:
        writer.close()


def _answer(head: bytes) -> bytes:
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if path.rstrip(b"/") != b"/health":
        status, body = "404 Not Found", {"error": "not found"}
    elif method not in (b"GET", b"HEAD"):
        status, body = "405 Method Not Allowed", {"error": "method not allowed"}
    else:
        status, body = "200 OK", {"status": "healthy"}
    content = json.dumps(body, separators=(",", ":")).encode()
    lines = (
        f"HTTP/1.1 {status}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        "Connection: close",
        "\r\n",
    )
    return "\r\n".join(lines).encode() + (b"" if method == b"HEAD" else content)
