"""Keeps what Azure Monitor's exporters post. Entry point: `running_ingestion`.

A stand-in for Application Insights' ingestion and live metrics endpoints: it accepts everything,
and counts rows and bytes of what would be ingested.
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
    """The rows that came in, oldest first."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.port = 0

    @property
    def connection_string(self) -> str:
        """What `APPLICATIONINSIGHTS_CONNECTION_STRING` holds."""
        address = f"http://127.0.0.1:{self.port}/"
        return (
            f"InstrumentationKey={INSTRUMENTATION_KEY};IngestionEndpoint={address};"
            f"LiveEndpoint={address}"
        )

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """The `baseData` of the rows of a kind (`EventData`, `MessageData`, `RequestData` …)."""
        return [item["data"]["baseData"] for item in self.items if item["data"]["baseType"] == kind]

    def by_table(self) -> Counter[str]:
        """Rows so far by the table that they go into."""
        return Counter(_table(item) for item in list(self.items))

    def rows_by_app(self) -> Counter[str]:
        """Rows so far by the app that sent them."""
        return Counter(_app(item) for item in list(self.items))

    def bytes_by_app(self) -> Counter[str]:
        """Bytes of the rows so far, unpacked as they are ingested, by app."""
        found: Counter[str] = Counter()
        for item in list(self.items):
            found[_app(item)] += len(json.dumps(item, separators=(",", ":")).encode())
        return found

    def take(self, path: str, raw: bytes) -> bytes:
        """Keep what was posted; the answer's body."""
        if path.split("?")[0] != TRACK:  # live metrics, which are not ingested
            return b"{}"
        found = json.loads(raw)
        self.items.extend(found)
        counts = {"itemsReceived": len(found), "itemsAccepted": len(found), "errors": []}
        return json.dumps(counts).encode()


@contextlib.contextmanager
def running_ingestion() -> Iterator[Ingestion]:
    """The endpoint on a free loopback port."""
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
            """Silence."""

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
