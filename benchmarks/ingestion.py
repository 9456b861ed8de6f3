"""Receives what Azure Monitor's exporters send. Entry point: `run_ingestion`.

It replaces the ingestion and live metrics endpoints of Application Insights. It keeps the rows that
Application Insights would keep, refuses the others with the reason, and counts rows and bytes.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from benchmarks.envelopes import find_problem

INSTRUMENTATION_KEY = "00000000-1111-2222-3333-444444444444"
TRACK = ("/v2/track", "/v2.1/track")
LIVE = "/QuickPulseService.svc/"
TABLES = {
    "RequestData": "requests",
    "RemoteDependencyData": "dependencies",
    "MessageData": "traces",
    "EventData": "customEvents",
    "ExceptionData": "exceptions",
    "MetricData": "metrics",
}
ROLE = "ai.cloud.role"
MAX_BODY = 1024 * 1024
"""The bytes of a request, unpacked."""


class Ingestion:
    """The received rows, oldest first, and what was refused."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.refused: list[str] = []
        """Why rows and requests were refused."""
        self.elsewhere: list[str] = []
        """The paths of other requests, and the hosts that a process wanted to reach whose proxy
        this is."""
        self.port = 0

    @property
    def connection_string(self) -> str:
        """The value of `APPLICATIONINSIGHTS_CONNECTION_STRING`."""
        address = f"http://127.0.0.1:{self.port}/"
        return (
            f"InstrumentationKey={INSTRUMENTATION_KEY};IngestionEndpoint={address};"
            f"LiveEndpoint={address}"
        )

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Return the `baseData` of the rows of a kind (`EventData`, `MessageData`, `RequestData`
        …)."""
        return [item["data"]["baseData"] for item in self.items if item["data"]["baseType"] == kind]

    def by_table(self) -> Counter[str]:
        """Count the rows so far by their table."""
        return Counter(_table(item) for item in list(self.items))

    def rows_by_app(self) -> Counter[str]:
        """Count the rows so far by the app that sent them."""
        return Counter(_app(item) for item in list(self.items))

    def bytes_by_app(self) -> Counter[str]:
        """Count the bytes of the rows so far by app, uncompressed as they are ingested."""
        found: Counter[str] = Counter()
        for item in list(self.items):
            found[_app(item)] += len(json.dumps(item, separators=(",", ":")).encode())
        return found

    def take(self, path: str, raw: bytes, *, packed: bool = False) -> tuple[int, dict[str, Any]]:
        """Keep the received rows; return the status and the body of the answer."""
        plain = path.split("?")[0]
        if plain.startswith(LIVE):  # live metrics are not ingested
            return 200, {}
        if plain not in TRACK:
            self.elsewhere.append(plain)
            return 404, {}
        try:
            found = _read_items(gzip.decompress(raw) if packed else raw)
        except (ValueError, OSError, EOFError, zlib.error) as error:
            self.refused.append(f"the request: {error}")
            return 400, _answer(received=0, errors=[_error(0, str(error))])
        errors = []
        for index, item in enumerate(found):
            problem = find_problem(item, instrumentation_key=INSTRUMENTATION_KEY)
            if problem is None:
                self.items.append(item)
            else:
                self.refused.append(problem)
                errors.append(_error(index, problem))
        status = 200 if not errors else 206 if len(errors) < len(found) else 400
        return status, _answer(received=len(found), errors=errors)


@contextlib.contextmanager
def run_ingestion() -> Iterator[Ingestion]:
    """Run the endpoint on a free loopback port."""
    ingestion = Ingestion()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", "0")))
            packed = self.headers.get("content-encoding") == "gzip"
            status, body = ingestion.take(self.path, raw, packed=packed)
            answer = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def do_GET(self) -> None:
            ingestion.elsewhere.append(self.path)
            self.send_error(404)

        def do_CONNECT(self) -> None:
            # A process whose proxy this is wants to reach another host.
            ingestion.elsewhere.append(self.path)
            self.send_error(403)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ingestion.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield ingestion
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def _read_items(raw: bytes) -> list[Any]:
    """Return the items of a request: a JSON array, or one JSON object a line. Raises ValueError."""
    if len(raw) > MAX_BODY:
        raise ValueError(f"{len(raw):,} bytes are more than {MAX_BODY:,}")
    text = raw.decode()
    if text.lstrip().startswith("["):
        found: list[Any] = json.loads(text)
    else:
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not found:
        raise ValueError("there are no items")
    return found


def _answer(*, received: int, errors: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "itemsReceived": received,
        "itemsAccepted": received - len(errors) if received else 0,
        "appId": None,
        "errors": errors,
    }


def _error(index: int, message: str) -> dict[str, Any]:
    return {"index": index, "statusCode": 400, "message": message}


def _table(item: dict[str, Any]) -> str:
    kind = str(item["data"]["baseType"])
    return TABLES.get(kind, kind)


def _app(item: dict[str, Any]) -> str:
    return str(item.get("tags", {}).get(ROLE, "unknown"))
