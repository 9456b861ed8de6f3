"""How do tests get a Service Bus on this machine?

`running_bus()` starts the laptop's local Service Bus as a process of its own on free loopback
ports, with the entities of infra/servicebus.json and a subscription `probe` that reads every event.
It can be killed, frozen and started again.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ENTITIES = ROOT / "infra" / "servicebus.json"
START_SECONDS = 20.0
STOP_SECONDS = 10.0
PROBE_SUBSCRIPTION = "probe"


class LocalBus:
    """The broker's process, its data in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.port, self.http_port = _free_ports(2)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "Config.json").write_text(json.dumps(_config()))

    @property
    def connection_string(self) -> str:
        """What `AZURE_SERVICEBUS_CONNECTION_STRING` holds."""
        return (
            f"Endpoint=sb://127.0.0.1:{self.port};SharedAccessKeyName=RootManageSharedAccessKey;"
            "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
        )

    def start(self) -> None:
        """Start it and wait until it is healthy."""
        arguments = [
            *("--config", str(self._folder / "Config.json"), "--port", str(self.port)),
            *("--http-port", str(self.http_port), "--data", str(self._folder / "bus.db")),
        ]
        with (self._folder / "bus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "devhost.servicebus", *arguments],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                text = (self._folder / "bus.log").read_text(errors="replace")
                raise RuntimeError(f"the local Service Bus did not start: {text[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9: nothing is said good-bye to."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
            self._process = None

    def stop(self) -> None:
        """SIGTERM: it closes its file."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(STOP_SECONDS)
            self._process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """It holds its connections, but does nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _healthy(self) -> bool:
        url = f"http://127.0.0.1:{self.http_port}/health"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False


@contextlib.contextmanager
def running_bus(folder: Path) -> Iterator[LocalBus]:
    """A broker that is healthy, killed at the end."""
    bus = LocalBus(folder)
    bus.start()
    try:
        yield bus
    finally:
        bus.kill()


def _config() -> dict[str, Any]:
    config: dict[str, Any] = json.loads(ENTITIES.read_text())
    for topic in config["UserConfig"]["Namespaces"][0]["Topics"]:
        properties = dict(topic["Subscriptions"][0]["Properties"])
        topic["Subscriptions"].append({"Name": PROBE_SUBSCRIPTION, "Properties": properties})
    return config


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
