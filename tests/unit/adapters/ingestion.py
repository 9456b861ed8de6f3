"""Which rows would Application Insights have got? A stand-in for its ingestion endpoint.

`running_ingestion()` takes what the Azure Monitor exporters post and keeps the telemetry items.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

INSTRUMENTATION_KEY = "00000000-1111-2222-3333-444444444444"


class Ingestion:
    """The rows that came in, oldest first."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.port = 0

    @property
    def connection_string(self) -> str:
        """What `APPLICATIONINSIGHTS_CONNECTION_STRING` holds."""
        address = f"http://127.0.0.1:{self.port}/"
        return f"InstrumentationKey={INSTRUMENTATION_KEY};IngestionEndpoint={address}"

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """The `baseData` of the rows of a kind (`EventData`, `MessageData`, `RequestData` …)."""
        return [item["data"]["baseData"] for item in self.items if item["data"]["baseType"] == kind]


@contextlib.contextmanager
def running_ingestion() -> Iterator[Ingestion]:
    """The endpoint on a free loopback port."""
    ingestion = Ingestion()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", "0")))
            if self.headers.get("content-encoding") == "gzip":
                raw = gzip.decompress(raw)
            found = json.loads(raw)
            ingestion.items.extend(found)
            answer = json.dumps(
                {"itemsReceived": len(found), "itemsAccepted": len(found), "errors": []}
            ).encode()
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
