"""Receives what Azure Monitor's exporters send. Entry point: `run_ingestion`.

It replaces the ingestion and live metrics endpoints of Application Insights: it accepts everything,
and counts the rows and bytes that would be ingested.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

INSTRUMENTATION_KEY = "00000000-1111-2222-3333-444444444444"
TRACK = "/v2.1/track"
TABLES = {
    "RequestData": "requests",
    "RemoteDependencyData": "dependencies",
    "MessageData": "traces",
    "EventData": "customEvents",
    "ExceptionData": "exceptions",
    "MetricData": "metrics",
}
ROLE = "ai.cloud.role"


class Ingestion:
    """The received rows, oldest first."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
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

    def take(self, path: str, raw: bytes) -> bytes:
        """Keep the received rows; return the body of the answer."""
        if path.split("?")[0] != TRACK:  # live metrics are not ingested
            return b"{}"
        found = json.loads(raw)
        self.items.extend(found)
        counts = {"itemsReceived": len(found), "itemsAccepted": len(found), "errors": []}
        return json.dumps(counts).encode()


@contextlib.contextmanager
def run_ingestion() -> Iterator[Ingestion]:
    """Run the endpoint on a free loopback port."""
    ingestion = Ingestion()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", "0")))
            if self.headers.get("content-encoding") == "gzip":
                raw = gzip.decompress(raw)
            answer = ingestion.take(self.path, raw)
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

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


def _table(item: dict[str, Any]) -> str:
    kind = str(item["data"]["baseType"])
    return TABLES.get(kind, kind)


def _app(item: dict[str, Any]) -> str:
    return str(item.get("tags", {}).get(ROLE, "unknown"))
