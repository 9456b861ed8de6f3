"""How do tests run an app on the local Functions host, as a process of its own?"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.unit.functions.conftest import write_app

START_SECONDS = 20.0
STOP_SECONDS = 12.0
WAIT_SECONDS = 15.0
REPOSITORY = Path(__file__).resolve().parents[3]

NOTES = """
import asyncio, json, os, time

def note(kind, **fields):
    print(json.dumps({"event": kind, "at": time.time(), **fields}), flush=True)

@app.route("ping")
async def ping(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("pong")
"""
"""What most fixture apps begin with: `note` writes a line that `Running.wait_for` finds."""


class Running:
    """A host that serves; its output is collected line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = int(self.wait_for("host.started")["port"])

    def noted(self, event: str) -> list[dict[str, Any]]:
        """The lines with this event so far."""
        with self._news:
            return [line for line in self.lines if line.get("event") == event]

    def wait_for(
        self, event: str, *, count: int = 1, seconds: float = WAIT_SECONDS
    ) -> dict[str, Any]:
        """The `count`-th line with this event, waited for."""
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                found = [line for line in self.lines if line.get("event") == event]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and not self._reader.is_alive()):
                    raise AssertionError(
                        f"{len(found)} of {count} {event!r} after {seconds} s; "
                        f"exit {self.process.poll()}; the last lines: {self.lines[-12:]}"
                    )
                self._news.wait(min(left, 0.5))

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (names in lower case) and body of one request; a body of several parts
        is sent in chunks, without its length."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, names, answer.read()

    def terminate(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_SECONDS)
        self._reader.join(5)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            try:
                line = json.loads(text)
            except ValueError:
                line = {"event": "text", "text": text.rstrip()}
            with self._news:
                self.lines.append(line)
                self._news.notify_all()


@contextlib.contextmanager
def running_app(
    folder: Path,
    source: str,
    *,
    host: dict[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    arguments: tuple[str, ...] = (),
) -> Iterator[Running]:
    """An app on a free port, killed in the end if the test has not stopped it."""
    process = start_host(
        write_app(folder, NOTES + source, host), environment=environment, arguments=arguments
    )
    try:
        yield Running(process)
    finally:
        process.kill()
        process.wait(STOP_SECONDS)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()


def start_host(
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    arguments: tuple[str, ...] = (),
) -> subprocess.Popen[str]:
    """The host as a process, its output in pipes."""
    command = [sys.executable, "-m", "devhost.functions", str(folder), "--port", "0", *arguments]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool], *, seconds: float = WAIT_SECONDS) -> None:
    """Wait for a condition that nobody announces."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {seconds} s")
        time.sleep(0.02)
