"""A small stand-in for Azure Resource Manager that answers the real az.

It knows one subscription and one resource group, and answers a deployment as it is told to: it
shows how az speaks and fails, never what Azure would do with a template.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
TENANT = "00000000-0000-0000-0000-000000000002"
GROUP = "rg-aos-dev"


Answer = tuple[int, Any, dict[str, str]]


class Arm:
    """The server; `what_if`, `validate` and `deployment` are what it answers next."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Listen on a free port, with this certificate for localhost."""
        self.what_if: dict[str, Any] = {"status": "Succeeded", "properties": {"changes": []}}
        self.validate: tuple[int, dict[str, Any]] = (200, {"properties": {}})
        self.failures: list[dict[str, Any]] = []
        self.outputs: dict[str, Any] = {}
        self.puts: list[str] = []
        self.unknown: list[str] = []
        self._error: dict[str, Any] | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://localhost:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str) -> Answer:
        """Status, document and headers."""
        low = path.lower()
        if method == "HEAD":
            return 204, None, {}
        for pattern, status, said in self._still():
            if re.fullmatch(pattern, low):
                return status, said, {}
        if low.endswith("/whatif"):
            return 200, self.what_if, {}
        if low.endswith("/validate"):
            return *self.validate, {}
        if re.search(r"/deployments/[^/]+$", low):
            return self._deployment(method, path)
        if "/operationstatuses/" in low:
            state = "Failed" if self._error else "Succeeded"
            return 200, {"status": state, **({"error": self._error} if self._error else {})}, {}
        self.unknown.append(f"{method} {path}")
        return 404, {"error": {"code": "NotFound", "message": path}}, {}

    def _still(self) -> list[tuple[str, int, Any]]:
        me = {
            "id": f"/subscriptions/{SUBSCRIPTION}",
            "subscriptionId": SUBSCRIPTION,
            "tenantId": TENANT,
            "displayName": "Stand-in",
            "state": "Enabled",
        }
        group = rf"/subscriptions/{SUBSCRIPTION}/resourcegroups/{GROUP}"
        regions = [{"name": "eastus", "displayName": "East US"}]
        return [
            ("/subscriptions", 200, {"value": [me]}),
            (rf"/subscriptions/{SUBSCRIPTION}", 200, me),
            ("/tenants", 200, {"value": [{"tenantId": TENANT}]}),
            (rf"/subscriptions/{SUBSCRIPTION}/locations", 200, {"value": regions}),
            (group, 200, {"id": group, "name": GROUP, "location": "eastus"}),
            (rf"/subscriptions/{SUBSCRIPTION}/resources", 200, {"value": []}),
            (rf"{group}/deployments/[^/]+/operations", 200, {"value": []}),
            (r".*/microsoft.resourcehealth/availabilitystatuses", 200, {"value": []}),
            (r".*/checknameavailability", 200, {"nameAvailable": True}),
            (r".*/microsoft.web/sites/[^/]+/functions", 200, {"value": []}),
        ]

    def _deployment(self, method: str, path: str) -> Answer:
        if method == "PUT":
            self.puts.append(path)
            self._error = self.failures.pop(0) if self.failures else None
            poll = f"{self.url}{path}/operationStatuses/1?api-version=2025-04-01"
            headers = {"Azure-AsyncOperation": poll, "Retry-After": "0"}
            return 201, self._shown(path, "Accepted"), headers
        if not self.puts:
            return 404, {"error": {"code": "DeploymentNotFound", "message": "m"}}, {}
        return 200, self._shown(path, "Failed" if self._error else "Succeeded"), {}

    def _shown(self, path: str, state: str) -> dict[str, Any]:
        properties = {"provisioningState": state, "outputs": self.outputs, "error": self._error}
        return {"id": path, "name": path.rpartition("/")[2], "properties": properties}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        arm = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                self.rfile.read(length)  # az sends the template as text with comments: no JSON
                path = urlsplit(self.path).path.rstrip("/")
                status, said, headers = arm.answer(self.command, path)
                data = b"" if said is None else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_HEAD = _serve

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
