"""Describes the processes of the Service Bus and of the three apps. Entry points: `make_bus_spec`,
`make_app_spec`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devhost.child import ChildSpec, combine_probes, make_http_probe, make_tcp_probe
from devhost.ports import HOST, Ports

APP_FOLDERS = {"main": ".", "mcp": "mcp_app", "realm": "realm_app"}
"""The apps and their folders in the repository. The root is main's, because Core Tools requires
that."""
BUS_CONFIG = Path("infra", "servicebus.json")
ROLE_NAME = "OTEL_SERVICE_NAME"
"""The setting for `cloud_RoleName`, which in Azure is the name of the site."""
_OK = frozenset({200})


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The paths of the repository and of the folder for data, logs and pids (`.aos`)."""

    repository: Path
    data: Path

    def log(self, name: str) -> Path:
        """Return the path of a child's log."""
        return self.data / "logs" / f"{name}.log"

    def pid(self, name: str) -> Path:
        """Return the path of the file with a child's process id while it runs."""
        return self.data / "pids" / f"{name}.pid"

    @property
    def keys(self) -> Path:
        """The path of the function keys for `AOS_AUTH=keys`."""
        return self.data / "keys.json"


def make_bus_spec(
    *, ports: Ports, places: Places, environment: Mapping[str, str], config: Path | None = None
) -> ChildSpec:
    """Describe the local Service Bus. Its messages are in `servicebus.db` in the data folder."""
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
        ready=combine_probes(
            make_tcp_probe(HOST, ports.servicebus),
            make_http_probe(HOST, ports.servicebus_http, "/health", _OK),
        ),
        log_path=places.log("servicebus"),
        pid_path=places.pid("servicebus"),
        stop_timeout_seconds=5.0,
    )


def make_app_spec(
    name: str, *, ports: Ports, places: Places, environment: Mapping[str, str], keys: bool
) -> ChildSpec:
    """Describe one of the three apps on the local Functions host. With `keys`, its routes require a
    key."""
    port = getattr(ports, name)
    folder = places.repository / APP_FOLDERS[name]
    command = (sys.executable, "-m", "devhost.functions", str(folder), "--port", str(port))
    return ChildSpec(
        name=name,
        command=(*command, "--keys", str(places.keys)) if keys else command,
        environment={ROLE_NAME: name, **environment},
        folder=places.repository,
        ready=make_http_probe(HOST, port, "/api/health", _OK),
        log_path=places.log(name),
        pid_path=places.pid(name),
        stop_timeout_seconds=8.0,
    )
