"""Serves the script of `make demo` as an OpenAI-compatible endpoint. Entry point: `serve_script`.

It is not a model: each answer is written down. It stands where a model's endpoint stands, so that
everything behind that boundary is real.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "scripted"
WORD_SECONDS = 0.06
_USAGE = {"prompt_tokens": 40, "completion_tokens": 20, "total_tokens": 60}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What the script says next: text, or a tool call with its arguments.

    `seconds` go by before it. `status` other than 200 is an error that is retried.
    """

    text: str = ""
    tool: str | None = None
    arguments: Mapping[str, Any] | None = None
    seconds: float = 0.4
    status: int = 200


Script = Callable[[Sequence[Mapping[str, Any]]], Line]
"""Chooses a line by the messages of the request."""


@contextlib.contextmanager
def serve_script(script: Script) -> Iterator[str]:
    """Serve the script on a free port of this machine; yield the endpoint's base URL."""

    class Handler(_Handler):
        choose = staticmethod(script)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="script", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    choose: Script

    def do_GET(self) -> None:
        """GET /v1/models"""
        self._send(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    def do_POST(self) -> None:
        """POST /v1/chat/completions"""
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        line = self.choose(asked["messages"])
        with contextlib.suppress(OSError):  # realm is killed while it reads
            time.sleep(line.seconds)
            if line.status != 200:
                self._send(line.status, {"error": {"message": line.text}})
            elif asked.get("stream"):
                self._stream(line)
            else:
                self._send(200, _answer(line))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _send(self, status: int, body: Mapping[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _stream(self, line: Line) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        if line.tool is not None:
            self._send_chunk({"tool_calls": [{"index": 0, **_call(line)}]})
        for word in line.text.split(" ") if line.text else ():
            self._send_chunk({"content": f"{word} "})
            time.sleep(WORD_SECONDS)
        self._send_chunk({}, "stop" if line.tool is None else "tool_calls")
        self.wfile.write(b"data: [DONE]\n\n")

    def _send_chunk(self, delta: Mapping[str, Any], reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk: dict[str, Any] = {
            "object": "chat.completion.chunk",
            "model": MODEL,
            "choices": [choice],
        }
        if reason is not None:
            chunk["usage"] = _USAGE
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def _answer(line: Line) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": line.text or None}
    if line.tool is not None:
        message["tool_calls"] = [_call(line)]
    reason = "stop" if line.tool is None else "tool_calls"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {"object": "chat.completion", "model": MODEL, "choices": [choice], "usage": _USAGE}


def _call(line: Line) -> dict[str, Any]:
    function = {"name": line.tool, "arguments": json.dumps(line.arguments or {})}
    return {"id": "call_0", "type": "function", "function": function}
