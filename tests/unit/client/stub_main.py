"""A stand-in for the main app at the HTTP boundary.

It answers what a test wrote down, in order, and keeps the requests. Agents' cards are kept by the
real `CardEditor` in memory, under their own routes.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from aos.domain.cards.identity import CardKind
from aos.domain.codec import encode
from aos.errors import CODES, AosError, ErrorInfo
from tests.unit.catalog.cards import Cards

HELD_SECONDS = 20
CUT = object()
"""Instead of an answer: the connection is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """An answer: status, JSON (or raw bytes), headers; `after`: not before this is set."""

    body: Any = None
    status: int = 200
    after: threading.Event | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


Scripted: TypeAlias = Say | object | Callable[[Seen], Any]


def refusal(code: str, message: str = "no", **details: Any) -> Say:
    """An error as main answers it."""
    info = ErrorInfo(code=code, message=message, details=details)
    return Say(body={"error": encode(info)}, status=CODES[code].http_status or 500)


class Server(ThreadingHTTPServer):
    """Takes many connections at once."""

    request_queue_size = 128


class StubMain:
    """The server, its script and what it saw."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.script: list[Scripted] = []
        self.cards = Cards()
        self.before_put: Callable[[], Awaitable[None]] | None = None
        self.lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                text = self.rfile.read(length)
                seen = Seen(
                    method=self.command,
                    path=self.path,
                    headers={name.lower(): value for name, value in self.headers.items()},
                    body=json.loads(text) if text else None,
                )
                with stub.lock:
                    answer = stub.answer(seen)
                if answer is CUT:
                    self.close_connection = True
                    return
                assert isinstance(answer, Say)
                if answer.after is not None:
                    answer.after.wait(HELD_SECONDS)
                raw = answer.body
                body = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in answer.headers:
                    self.send_header("Content-Length", str(len(body)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = _serve

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def then(self, *answers: Scripted) -> None:
        """Append to the script."""
        self.script.extend(answers)

    def answer(self, seen: Seen) -> Any:
        """Note the request; the next answer of the script, or the one without a script."""
        self.seen.append(seen)
        if self.script:
            answer = self.script.pop(0)
            return answer(seen) if callable(answer) else answer
        return self.serve(seen)

    def serve(self, seen: Seen) -> Say:
        """The answer without a script."""
        parts = seen.path.split("?")[0].split("/")
        if parts[1:3] == ["api", "agents"] and len(parts) == 4:
            return asyncio.run(self._card(seen, parts[3]))
        return refusal("not_found", f"{seen.path} is not scripted")

    async def _card(self, seen: Seen, agent_id: str) -> Say:
        editor = self.cards.editor()
        try:
            if seen.method == "GET":
                return Say(body=(await editor.get(CardKind.AGENT, agent_id)).make_answer())
            if self.before_put is not None:
                await self.before_put()
            result = await editor.put(
                CardKind.AGENT,
                agent_id,
                json.dumps(seen.body).encode(),
                if_match=seen.headers.get("if-match"),
                create_only=seen.headers.get("if-none-match") == "*",
            )
        except AosError as error:
            return refusal(error.code, str(error), **error.info.details)
        return Say(body=result.make_answer())


@contextmanager
def running_stub() -> Iterator[StubMain]:
    """The stand-in, listening on a free loopback port."""
    stub = StubMain()
    thread = threading.Thread(target=stub.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.server.shutdown()
        stub.server.server_close()
        thread.join(timeout=10)
