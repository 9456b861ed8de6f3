"""Measures the time from an app's start to its first answer, beside a hello-world app. Entry point:
`measure_first_status`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from devhost.laptop import REPOSITORY
from devhost.ports import HOST

START_SECONDS = 30.0
POLL_SECONDS = 0.002
HELLO = """import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="status", methods=["GET"])
async def status(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse('{"version":"2.0.0"}', mimetype="application/json")
"""


def write_hello_world(folder: Path) -> Path:
    """Write an app of one function for comparison; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "function_app.py").write_text(HELLO, "utf-8")
    (folder / "host.json").write_text('{"version": "2.0"}', "utf-8")
    return folder


def measure_first_status(folder: Path, environment: Mapping[str, str]) -> float:
    """Start the app's host; return the seconds to its first 200 of GET /api/status."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "devhost.functions", str(folder), "--port", str(port)]
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    try:
        while not _is_answering(port):
            if process.poll() is not None or time.perf_counter() - started > START_SECONDS:
                raise RuntimeError(f"{folder} did not start")
            time.sleep(POLL_SECONDS)
        return time.perf_counter() - started
    finally:
        process.kill()
        process.wait(timeout=10)


def _is_answering(port: int) -> bool:
    request = f"GET /api/status HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((HOST, port), timeout=START_SECONDS) as connection:
            connection.sendall(request.encode())
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
