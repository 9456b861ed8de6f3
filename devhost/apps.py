"""How do the Service Bus and the three apps run on the laptop?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devhost.child import ChildSpec, accepts_tcp, all_of, answers_http
from devhost.ports import HOST, Ports

APP_FOLDERS = {"main": ".", "mcp": "mcp_app", "realm": "realm_app"}
"""The apps and their folders in the repository; main's is the root, as Core Tools wants it."""
BUS_CONFIG = Path("infra", "servicebus.json")
_OK = frozenset({200})


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things are: the repository, and the folder for data, logs and pids (`.aos`)."""

    repository: Path
    data: Path

    def log(self, name: str) -> Path:
        """The log of a child."""
        return self.data / "logs" / f"{name}.log"

    def pid(self, name: str) -> Path:
        """The file that holds a child's process id while it runs."""
        return self.data / "pids" / f"{name}.pid"

    @property
    def keys(self) -> Path:
        """The function keys of `AOS_AUTH=keys`."""
        return self.data / "keys.json"


def bus_spec(
    *, ports: Ports, places: Places, environment: Mapping[str, str], config: Path | None = None
) -> ChildSpec:
    """The local Service Bus, its messages in `servicebus.db` under the data folder."""
    return ChildSpec(
        name="servicebus",
        command=(
            sys.executable,
            "-m",
            "devhost.servicebus",
            "--config",
            str(config or places.repository / BUS_CONFIG),
            "--port",
            str(ports.servicebus),
            "--http-port",
            str(ports.servicebus_http),
            "--data",
            str(places.data / "servicebus.db"),
        ),
        environment=environment,
        folder=places.repository,
        ready=all_of(
            accepts_tcp(HOST, ports.servicebus),
            answers_http(HOST, ports.servicebus_http, "/health", _OK),
        ),
        log_path=places.log("servicebus"),
        pid_path=places.pid("servicebus"),
        stop_timeout_seconds=5.0,
    )


def app_spec(
    name: str, *, ports: Ports, places: Places, environment: Mapping[str, str], keys: bool
) -> ChildSpec:
    """One of the three apps on the local Functions host; `keys`: its routes ask for one."""
    port = getattr(ports, name)
    folder = places.repository / APP_FOLDERS[name]
    command = (sys.executable, "-m", "devhost.functions", str(folder), "--port", str(port))
    return ChildSpec(
        name=name,
        command=(*command, "--keys", str(places.keys)) if keys else command,
        environment=environment,
        folder=places.repository,
        ready=answers_http(HOST, port, "/api/health", _OK),
        log_path=places.log(name),
        pid_path=places.pid(name),
        stop_timeout_seconds=8.0,
    )
