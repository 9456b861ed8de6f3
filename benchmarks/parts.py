"""Starts what the benchmarks measure: the floor, a model that answers at once, a laptop. Entry
points: `laptop`, `floor`, `instant_model`, `paced_model`."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from devhost.laptop import REPOSITORY, Laptop
from devhost.ports import Ports

START_SECONDS = 30.0
CARD = {"agent_id": "bench", "purpose": "Answer at once."}


@contextlib.contextmanager
def instant_model(*, delay: float = 0.0) -> Iterator[str]:
    """Run an OpenAI-compatible endpoint that answers after `delay` seconds; yield its base URL."""
    with printing_its_port("benchmarks.instant_model", "--delay", str(delay)) as server:
        yield f"http://127.0.0.1:{server.port}/v1"


@contextlib.contextmanager
def paced_model() -> Iterator[str]:
    """Run an OpenAI-compatible endpoint that streams tokens at a pace; yield its base URL."""
    with printing_its_port("benchmarks.streaming_model") as server:
        yield f"http://127.0.0.1:{server.port}/v1"


@contextlib.contextmanager
def floor(*, model: str, data: Path) -> Iterator[str]:
    """Run the floor (benchmarks/floor.py) on its own SQLite file; yield its base URL."""
    with printing_its_port("benchmarks.floor", "--model", model, "--data", str(data)) as server:
        url = f"http://127.0.0.1:{server.port}"
        _until_it_answers(f"{url}/openapi.json")
        yield url


@contextlib.contextmanager
def laptop(
    *, root: Path, model: str, settings: Mapping[str, str] | None = None
) -> Iterator[Laptop]:
    """Run a whole laptop on empty storage, with the agent `bench` live."""
    running = Laptop(
        root=root,
        ports=Ports.free(),
        model_endpoint=model,
        settings={"AOS_MODEL": "instant", **(settings or {})},
    )
    with running:
        put_card(running.urls["main"], CARD)
        yield running


def put_card(main_url: str, card: Mapping[str, object]) -> None:
    """PUT an agent card and wait until it is live."""
    _put(f"{main_url}/api/agents/{card['agent_id']}", card)


def put_agent_with_a_tool(main_url: str) -> None:
    """Make the agent `bench-tools` with one tool of a real MCP server, and wait until it is
    listed."""
    server = {
        "server_id": "everything",
        "command": "npx",
        "args": ["-y", "@modelcontextprotocol/server-everything"],
    }
    _put(f"{main_url}/api/mcp-servers/everything", server)
    put_card(main_url, {**CARD, "agent_id": "bench-tools", "mcp_tools": ["everything/echo"]})
    deadline = time.monotonic() + START_SECONDS
    while True:
        with urllib.request.urlopen(f"{main_url}/api/tools", timeout=10) as response:
            items = json.loads(response.read())["items"]
        if any(item["state"] == "ready" for item in items):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"the tools of the MCP server are not listed: {items}")
        time.sleep(0.1)


def _put(url: str, card: Mapping[str, object]) -> None:
    request = urllib.request.Request(
        url,
        data=json.dumps(card).encode(),
        headers={"Content-Type": "application/json"},
        method="PUT",
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        response.read()


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A process that printed the port where it listens."""

    port: int
    pid: int


@contextlib.contextmanager
def printing_its_port(
    module: str, *options: str, python: Path | str = sys.executable
) -> Iterator[Server]:
    """Run a module of this repository that prints its port first, until the block ends."""
    process = subprocess.Popen(
        [str(python), "-m", module, *options],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line.strip():
            raise RuntimeError(f"{module} did not start")
        yield Server(port=int(line), pid=process.pid)
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


def _until_it_answers(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                response.read()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
