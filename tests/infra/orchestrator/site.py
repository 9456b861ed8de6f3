"""A server that answers /api/health and /api/status for the apps."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aos.version import __version__

_GOOD = {
    "health": (200, {"status": "healthy", "timestamp": "now"}),
    "status": (200, {"version": __version__, "environment": "dev"}),
}


class Site:
    """A server on a free port: /NAME/api/ROUTE answers what is set for both, in order."""

    def __init__(self) -> None:
        """Answer 200, healthy and the version until told otherwise."""
        self._answers: dict[tuple[str, str], list[tuple[int, Any]]] = {}
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answers(self, name: str, *answers: tuple[int, Any], route: str = "health") -> None:
        """Answer an app's calls so; the last one is repeated."""
        self._answers[name, route] = list(answers)

    def urls(self) -> dict[str, str]:
        """The output functionAppUrls."""
        return {app: f"{self.url}/{app}" for app in ("main", "mcp", "realm")}

    def __enter__(self) -> Site:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def next_answer(self, path: str) -> tuple[int, Any]:
        """Note the path; the next of its answers. The last one is repeated."""
        self.asked.append(path)
        _, name, _, route = path.split("/")
        left = self._answers.get((name, route)) or [_GOOD[route]]
        return left.pop(0) if len(left) > 1 else left[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, said = site.next_answer(self.path)
                body = said.encode() if isinstance(said, str) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
