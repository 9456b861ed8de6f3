"""A repository of paper: its Service Bus and its Functions host only listen and say 200."""

from __future__ import annotations

from pathlib import Path

_LISTENER = """
import argparse, json, os, pathlib, signal, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser()
parser.add_argument("folder", nargs="?")
for name in ("--config", "--port", "--http-port", "--data", "--keys"):
    parser.add_argument(name)
options = parser.parse_args()

class Says200(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(dict(os.environ) | {"keys": options.keys}).encode())

    def log_message(self, *_):
        pass

def end(*_):
    with open("ends", "a") as file:
        file.write(pathlib.Path(options.folder or "servicebus").name + "\\n")
    os._exit(0)

signal.signal(signal.SIGTERM, end)
servers = [ThreadingHTTPServer(("127.0.0.1", int(port)), Says200)
           for port in (options.port, options.http_port) if port]
print(json.dumps({"event": "app.started", "level": "INFO", "app": options.folder}), flush=True)
for server in servers[1:]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
servers[0].serve_forever()
"""


def write_repository(folder: Path) -> Path:
    """Write it under `folder`; returns the repository."""
    for package in ("servicebus", "functions"):
        path = folder / "devhost" / package
        path.mkdir(parents=True)
        (path / "__init__.py").touch()
        (path / "__main__.py").write_text(_LISTENER)
    (folder / "devhost" / "__init__.py").touch()
    (folder / "infra").mkdir()
    (folder / "infra" / "servicebus.json").write_text("{}")
    for app in ("mcp_app", "realm_app"):
        (folder / app).mkdir()
    return folder
