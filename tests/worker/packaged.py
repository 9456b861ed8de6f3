"""How do tests run the three packages under Microsoft's worker, and drive them as users do?"""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from devhost.laptop import Laptop
from devhost.ports import HOST, Ports
from tests.e2e.road import Road
from tests.infra.packages.packing import APPS, REPOSITORY
from tests.scripted_model import ScriptedModel, echo, running_model

START_SECONDS = 60.0
STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What `Road` needs to know of a laptop."""

    urls: dict[str, str]
    storage_connection_string: str
    servicebus_connection_string: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Packaged:
    """The apps as they run: their doors, their model, their logs."""

    road: Road
    model: ScriptedModel
    logs: dict[str, Path]


@contextmanager
def running_packages(python: Path, build: Path, *, root: Path) -> Iterator[Packaged]:
    """main, mcp and realm from their packages, each in a worker behind the local host."""
    ports = Ports.free()
    with running_model() as model, ExitStack() as stack:
        model.always(echo)
        laptop = stack.enter_context(
            Laptop(root=root / "data", model_endpoint=model.endpoint, apps=())
        )
        doors = Doors(
            urls={app: f"http://{HOST}:{getattr(ports, app)}" for app in APPS},
            storage_connection_string=laptop.storage_connection_string,
            servicebus_connection_string=laptop.servicebus_connection_string,
        )
        logs = {app: root / f"{app}.log" for app in APPS}
        for app in APPS:
            settings = {**laptop.settings.for_apps(), "AOS_APP": app, "AOS_PUBLIC_URL": ""}
            port = getattr(ports, app)
            stack.enter_context(_running(build / app, python, port, settings, logs[app]))
        for app in APPS:
            _wait_healthy(doors.urls[app], logs[app])
        road = Road(doors)
        stack.callback(road.close)
        yield Packaged(road=road, model=model, logs=logs)


@contextmanager
def _running(
    folder: Path, python: Path, port: int, settings: dict[str, str], log: Path
) -> Iterator[None]:
    command = [sys.executable, "-m", "devhost.functions", str(folder), "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--worker", str(python)],
            cwd=REPOSITORY,
            env=settings,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_healthy(url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/api/health", timeout=10):
                return
        except OSError:
            assert time.monotonic() < deadline, log.read_text("utf-8")[-4000:]
            time.sleep(0.05)
