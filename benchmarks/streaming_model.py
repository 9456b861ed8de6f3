"""Serves an OpenAI-compatible model that streams tokens at a given pace. Entry point: `serve`.

`python -m benchmarks.streaming_model` prints its port. The last message of a request is a `Plan` as
JSON. Each token begins with the time at which it was written (`time.monotonic`, which processes of
one machine share), so that a reader knows how long it was on its way. A request without `stream`
gets the same text whole, after the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

LISTING = json.dumps({"object": "list", "data": [{"id": "instant", "object": "model"}]}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the model writes: `tokens` of `letters` each, `pause` seconds apart, after `first`."""

    first: float = 0.3
    pause: float = 0.02
    tokens: int = 60
    letters: int = 12

    @property
    def seconds(self) -> float:
        """Return how long the model writes."""
        return self.first + self.pause * (self.tokens - 1)

    def to_message(self) -> str:
        """Return the message that asks for it."""
        return json.dumps(asdict(self))


def write_token(letters: int) -> str:
    """Return a token that says when it was written."""
    return f"{time.monotonic():.4f}".ljust(letters - 1, "x") + " "


def read_token(token: str) -> float:
    """Return when a token was written."""
    return float(token.rstrip("x"))


async def serve() -> None:
    """Serve until the process is killed; print the port first."""
    server = await asyncio.start_server(_converse, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, EOFError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            lengths = [line for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
            body = await reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
            if head.startswith(b"get "):
                writer.write(_head("application/json", len(LISTING)) + LISTING)
            else:
                await _answer(json.loads(body), writer)
            await writer.drain()
    writer.close()


async def _answer(asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    plan = Plan(**json.loads(asked["messages"][-1]["content"]))
    if not asked.get("stream"):
        await asyncio.sleep(plan.seconds)
        text = "".join(write_token(plan.letters) for _ in range(plan.tokens))
        body = json.dumps(_answer_whole(text, plan)).encode()
        writer.write(_head("application/json", len(body)) + body)
        return
    writer.write(_head("text/event-stream", None))
    began = time.monotonic()
    for number in range(plan.tokens):
        due = began + plan.first + plan.pause * number
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        _write_chunk(writer, {"choices": [_choice({"content": write_token(plan.letters)})]})
    _write_chunk(writer, {"choices": [_choice({}, "stop")]})
    _write_chunk(writer, {"choices": [], "usage": _count(plan)})
    _write_piece(writer, b"data: [DONE]\n\n")
    writer.write(b"0\r\n\r\n")


def _answer_whole(text: str, plan: Plan) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {
        "object": "chat.completion",
        "model": "paced",
        "choices": [choice],
        "usage": _count(plan),
    }


def _count(plan: Plan) -> dict[str, int]:
    return {"prompt_tokens": 20, "completion_tokens": plan.tokens}


def _choice(delta: dict[str, str], reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": reason}


def _write_chunk(writer: asyncio.StreamWriter, chunk: dict[str, Any]) -> None:
    whole = {"object": "chat.completion.chunk", "model": "paced", **chunk}
    _write_piece(writer, b"data: " + json.dumps(whole).encode() + b"\n\n")


def _write_piece(writer: asyncio.StreamWriter, piece: bytes) -> None:
    writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")


def _head(kind: str, length: int | None) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{size}\r\n\r\n".encode()


if __name__ == "__main__":
    asyncio.run(serve())
