"""Assigns the loopback ports of the laptop and reads the settings that change them. Entry point:
`Ports`."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from devhost.errors import LaptopError

HOST = "127.0.0.1"
"""Everything on the laptop listens on loopback only."""

SETTING_OF_PORT: dict[str, str] = {
    "main": "AOS_MAIN_PORT",
    "mcp": "AOS_MCP_PORT",
    "realm": "AOS_REALM_PORT",
    "servicebus": "AOS_SERVICEBUS_PORT",
    "servicebus_http": "AOS_SERVICEBUS_HTTP_PORT",
    "blob": "AOS_AZURITE_BLOB_PORT",
    "queue": "AOS_AZURITE_QUEUE_PORT",
    "table": "AOS_AZURITE_TABLE_PORT",
    "model": "AOS_MODEL_PORT",
}
"""The field of `Ports`, and the environment variable that sets it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The loopback port of each listener. The defaults are those of Azure's own tools."""

    main: int = 7071
    mcp: int = 7072
    realm: int = 7073
    servicebus: int = 5672
    servicebus_http: int = 5300
    blob: int = 10000
    queue: int = 10001
    table: int = 10002
    model: int = 8091

    @classmethod
    def from_settings(cls, settings: Mapping[str, str]) -> Ports:
        """Return the defaults, changed by the settings. Raises LaptopError for a bad or double
        value."""
        given = {
            field: _parse_port(setting, settings[setting])
            for field, setting in SETTING_OF_PORT.items()
            if settings.get(setting)
        }
        ports = cls(**given)
        seen: dict[int, str] = {}
        for field, port in asdict(ports).items():
            if port in seen:
                raise LaptopError(
                    f"{SETTING_OF_PORT[field]} and {SETTING_OF_PORT[seen[port]]} both name port "
                    f"{port}; give each its own"
                )
            seen[port] = field
        return ports

    @classmethod
    def free(cls) -> Ports:
        """Return ports that were free a moment ago, for tests and benchmarks."""
        with contextlib.ExitStack() as stack:
            sockets = {name: stack.enter_context(socket.socket()) for name in SETTING_OF_PORT}
            for listener in sockets.values():
                listener.bind((HOST, 0))
            return cls(**{name: held.getsockname()[1] for name, held in sockets.items()})


def find_busy_ports(ports: Ports, names: tuple[str, ...]) -> list[str]:
    """Return one sentence for each of the named ports that is in use."""
    return [
        f"port {getattr(ports, name)} ({name}) is in use; set {SETTING_OF_PORT[name]} to a free "
        "one, or stop what listens there"
        for name in names
        if _is_busy(getattr(ports, name))
    ]


def _parse_port(setting: str, value: str) -> int:
    if value.strip().isdecimal() and 0 < int(value) < 65536:
        return int(value)
    raise LaptopError(f"{setting}={value!r} is not a port; write a number from 1 to 65535")


def _is_busy(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False
