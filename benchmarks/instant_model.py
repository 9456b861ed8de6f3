"""Serves an OpenAI-compatible model that answers at once or after a fixed delay. Entry point:
`serve`.

`python -m benchmarks.instant_model --port 0 [--delay 0.2]` prints its port. It uses a raw asyncio
protocol, so that its own cost is small beside what is measured. A request that offers tools and has
no tool result yet gets a call of the first tool.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys

BODY = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "created": 0,
    "model": "instant",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Measured, not guessed."},
        }
    ],
    "usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25},
}
MODELS = {"object": "list", "data": [{"id": "instant", "object": "model"}]}


def _build_response(payload: dict[str, object]) -> bytes:
    body = json.dumps(payload).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


COMPLETION, LISTING = _build_response(BODY), _build_response(MODELS)
_OFFERED = re.compile(rb'"tools":.*?"name": ?"([^"]+)"')


def _build_tool_call(request: bytes) -> bytes | None:
    """Return the answer that calls the first offered tool, unless the request has a tool result."""
    offered = _OFFERED.search(request)
    if offered is None or re.search(rb'"role": ?"tool"', request):
        return None
    call = {"name": offered[1].decode(), "arguments": '{"message":"Measured."}'}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_0", "type": "function", "function": call}],
    }
    choices = [{"index": 0, "finish_reason": "tool_calls", "message": message}]
    return _build_response({**BODY, "choices": choices})


class _Connection(asyncio.Protocol):
    """One client connection. Its requests come one after the other."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            length = 0
            for line in head.split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            self._answer(
                LISTING if head.startswith(b"get ") else _build_tool_call(body) or COMPLETION
            )

    def _answer(self, answer: bytes) -> None:
        if answer is LISTING or not self._delay:
            self._write(answer)
        else:
            asyncio.get_running_loop().call_later(self._delay, self._write, answer)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


async def serve(port: int, delay: float) -> None:
    """Serve until the process is killed; print the port first."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(delay), "127.0.0.1", port)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0)
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.delay))
