"""How do tests get a local Service Bus, as a process of its own?"""

from __future__ import annotations

import contextlib
import json
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

START_TIMEOUT_SECONDS = 20.0
STOP_TIMEOUT_SECONDS = 5.0
_LISTENS = re.compile(rb"listens on [\d.]+:(\d+), health on port (\d+)")
SHORT = {"LockDuration": "PT5S", "MaxDeliveryCount": 3, "DeadLetteringOnMessageExpiration": True}
PLAIN_QUEUES = [f"q{n}" for n in range(27)]
SESSION_QUEUES = [f"s{n}" for n in range(8)]


def _sql(name: str, expression: str, action: str | None = None) -> dict[str, Any]:
    sql: dict[str, Any] = {"FilterType": "Sql", "SqlFilter": {"SqlExpression": expression}}
    if action is not None:
        sql["Action"] = {"SqlExpression": action}
    return {"Name": name, "Properties": sql}


def _correlation(name: str, **wanted: Any) -> dict[str, Any]:
    correlation = {"FilterType": "Correlation", "CorrelationFilter": wanted}
    return {"Name": name, "Properties": correlation}


def _policy(name: str, *rights: str, **keys: str) -> dict[str, Any]:
    return {"Name": name, "Properties": {"Rights": list(rights), **keys}}


ROOT_POLICY, ROOT_KEY = "RootManageSharedAccessKey", "SAS_KEY_VALUE"
CONFIG = {
    "UserConfig": {
        "Namespaces": [
            {
                "Name": "sbemulatorns",
                "AuthorizationRules": [
                    _policy(
                        ROOT_POLICY,
                        *("Manage", "Listen", "Send"),
                        PrimaryKey=ROOT_KEY,
                        SecondaryKey="second",
                    ),
                    _policy("reader", "Listen", PrimaryKey="reading"),
                    _policy("writer", "Send", PrimaryKey="writing"),
                ],
                "Queues": [
                    *({"Name": name, "Properties": SHORT} for name in PLAIN_QUEUES),
                    *(
                        {"Name": name, "Properties": {**SHORT, "RequiresSession": True}}
                        for name in SESSION_QUEUES
                    ),
                    {
                        "Name": "brief",
                        "Properties": {**SHORT, "LockDuration": "PT2S", "RequiresSession": True},
                    },
                    {"Name": "Mixed/Case.Queue_1", "Properties": SHORT},
                    {
                        "Name": "guarded",
                        "Properties": SHORT,
                        "AuthorizationRules": [
                            _policy("own", "Listen", "Send", PrimaryKey="of the queue")
                        ],
                    },
                    {"Name": "once", "Properties": {"RequiresDuplicateDetection": True}},
                ],
                "Topics": [
                    {
                        "Name": "t",
                        "Properties": {},
                        "Subscriptions": [
                            {"Name": "all", "Properties": {}},
                            {
                                "Name": "null",
                                "Properties": {},
                                "Rules": [_sql("$Default", "aos_app IS NULL")],
                            },
                            {
                                "Name": "red",
                                "Properties": {},
                                "Rules": [_sql("r", "color = 'red' AND sys.Label <> 'x'")],
                            },
                            {
                                "Name": "label",
                                "Properties": {},
                                "Rules": [_correlation("c", Label="x", Properties={"size": 3})],
                            },
                        ],
                    },
                    {
                        "Name": "acting",
                        "Properties": {},
                        "Subscriptions": [
                            {
                                "Name": "s",
                                "Properties": {},
                                "Rules": [
                                    _sql("plain", "quantity > 0"),
                                    _sql(
                                        "halved",
                                        "quantity > 5",
                                        "SET quantity = quantity / 2; REMOVE priority; "
                                        "SET sys.Label = sys.Label + '-' + color",
                                    ),
                                ],
                            },
                        ],
                    },
                    {
                        "Name": "failing",
                        "Properties": {},
                        "Subscriptions": [
                            {
                                "Name": "s",
                                "Properties": {},
                                "Rules": [_sql("broken", "1=1", "SET quantity = 'many'")],
                            },
                        ],
                    },
                    {
                        "Name": "annotated",
                        "Properties": {},
                        "Subscriptions": [
                            {
                                "Name": "red",
                                "Properties": {},
                                "Rules": [_sql("r", "color = 'red' AND sys.Label = 'label'")],
                            },
                        ],
                    },
                ],
            }
        ],
        "Logging": {"Type": "File"},
    }
}


class BusProcess:
    """`python -m devhost.servicebus`; the ports stay the same from start to start."""

    def __init__(self, folder: Path, *, data: bool) -> None:
        self._config = folder / "Config.json"
        self._config.write_text(json.dumps(CONFIG))
        self._data = ["--data", str(folder / "bus.db")] if data else []
        self.port = self.http_port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def connection_string(self) -> str:
        """What the SDKs take, as for Microsoft's emulator."""
        return self.connection_of(ROOT_POLICY, ROOT_KEY)

    def connection_of(self, policy: str, key: str) -> str:
        """The same with another policy or key."""
        return (
            f"Endpoint=sb://127.0.0.1:{self.port};SharedAccessKeyName={policy};"
            f"SharedAccessKey={key};UseDevelopmentEmulator=true;"
        )

    def arguments(self) -> Sequence[str]:
        ports = ["--port", str(self.port), "--http-port", str(self.http_port)]
        module = [sys.executable, "-m", "devhost.servicebus"]
        return [*module, "--config", str(self._config), *ports, *self._data]

    def start(self) -> None:
        self.process = subprocess.Popen(self.arguments(), stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while time.monotonic() < deadline:
                if selector.select(timeout=0.5):
                    line = self.process.stdout.readline()
                    match = _LISTENS.search(line)
                    if match is None:
                        break
                    self.port, self.http_port = int(match[1]), int(match[2])
                    return
        self.stop()
        raise RuntimeError("the Service Bus did not start")

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.communicate(timeout=STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        return self.process.returncode


@contextlib.contextmanager
def running_bus(folder: Path, *, data: bool = True) -> Iterator[BusProcess]:
    """A Service Bus on free ports, its messages on disk."""
    bus = BusProcess(folder, data=data)
    bus.start()
    try:
        yield bus
    finally:
        bus.stop()
