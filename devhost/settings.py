"""Reads the user's settings and builds the environment of the laptop's processes. Entry point:
`LaptopSettings.read`.

The user's environment overrides `local.settings.json`, which overrides the laptop's own choices. If
the user names a storage account, a Service Bus or a model, that one is used and the local one is
not started.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aos.settings import AUTH_MODES, BUS, HOST_STORAGE, STORAGE
from devhost import azurite, model
from devhost.errors import LaptopError
from devhost.ports import HOST, Ports

MODEL_ENDPOINT = "AOS_MODEL_ENDPOINT"
DEVELOPMENT_STORAGE = "UseDevelopmentStorage=true"
OF_THE_APPS = ("AOS_", "AZURE_", "AzureWebJobs", "APPLICATIONINSIGHTS_", "FUNCTIONS_")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaptopSettings:
    """The user's settings; all decisions of the laptop follow from them.

    `given` is what the user set (not empty); `inherited` is the whole environment that children
    start from. Connection strings are masked in the repr.
    """

    ports: Ports
    given: Mapping[str, str] = field(repr=False)
    inherited: Mapping[str, str] = field(repr=False)

    @classmethod
    def read(cls, environment: Mapping[str, str], repository: Path) -> LaptopSettings:
        """Read the environment and `local.settings.json`. Raises LaptopError."""
        return cls.resolve(environment, defaults=_read_local_settings(repository))

    @classmethod
    def resolve(
        cls, environment: Mapping[str, str], *, defaults: Mapping[str, str] | None = None
    ) -> LaptopSettings:
        """Combine the given settings with weaker defaults. Raises LaptopError for a wrong one."""
        inherited = {**(defaults or {}), **environment}
        given = {name: value for name, value in inherited.items() if value.strip()}
        ports = Ports.from_settings(given)
        auth = given.get("AOS_AUTH", "off")
        if auth not in AUTH_MODES:
            raise LaptopError(
                f"AOS_AUTH={auth!r} is not known; write one of {', '.join(AUTH_MODES)}"
            )
        # a copied sample names the laptop's own parts, which are started
        for name in (BUS, STORAGE):
            if name not in environment and _is_ours(given.get(name, ""), ports):
                del given[name]
        return cls(ports=ports, given=given, inherited=inherited)

    @property
    def auth(self) -> str:
        """The mode: `off`, `keys` or `easyauth`."""
        return self.given.get("AOS_AUTH", "off")

    @property
    def runs_storage(self) -> bool:
        """Whether the laptop starts Azurite."""
        if self.given.get(STORAGE) == DEVELOPMENT_STORAGE:
            return True
        return not self._is_named(STORAGE)

    @property
    def runs_bus(self) -> bool:
        """Whether the laptop starts the local Service Bus."""
        return not self._is_named(BUS)

    @property
    def runs_model(self) -> bool:
        """Whether the laptop starts the local model."""
        return MODEL_ENDPOINT not in self.given

    @property
    def storage_connection_string(self) -> str:
        """The storage of the apps; `""` if the user set an identity instead."""
        if self.runs_storage:
            return azurite.connection_string(self.ports)
        return self.given.get(STORAGE, "")

    @property
    def servicebus_connection_string(self) -> str:
        """The Service Bus of the apps; `""` if the user set an identity instead."""
        return make_bus_connection_string(self.ports) if self.runs_bus else self.given.get(BUS, "")

    def for_apps(self) -> dict[str, str]:
        """Return the environment of the three apps: the laptop's choices, then the user's
        settings."""
        chosen = {
            HOST_STORAGE: self.storage_connection_string,
            STORAGE: self.storage_connection_string,
            BUS: self.servicebus_connection_string,
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "PYTHON_ENABLE_INIT_INDEXING": "1",
            "AZURE_FUNCTIONS_ENVIRONMENT": "Development",
            "AOS_ENVIRONMENT": "dev",
            "AOS_PUBLIC_URL": f"http://{HOST}:{self.ports.main}",
            "AOS_SERVICEBUS_HTTP_PORT": str(self.ports.servicebus_http),
            "PYTHONUNBUFFERED": "1",
        }
        if self.runs_model:
            chosen |= {
                MODEL_ENDPOINT: model.endpoint(self.ports),
                "AOS_MODEL": model.MODEL_NAME,
                "AOS_MODEL_API_KEY": "local",
                # A busy laptop may take minutes for what usually takes seconds.
                "AOS_MODEL_TIMEOUT_SECONDS": "230",
            }
        # An empty setting counts as absent, and Azurite's short form has fixed ports.
        kept = {
            n: v for n, v in chosen.items() if v and (n == HOST_STORAGE or not self._is_named(n))
        }
        given = {n: v for n, v in self.given.items() if v != DEVELOPMENT_STORAGE}
        unset = {n for n, v in self.inherited.items() if not v.strip() and n not in kept}
        everything = {**self.inherited, **kept, **given}
        return {name: value for name, value in everything.items() if name not in unset}

    def for_infrastructure(self) -> dict[str, str]:
        """Return the environment of storage, bus and model. It contains no secret of the apps."""
        return {
            name: value
            for name, value in self.inherited.items()
            if name == "AOS_AZURITE_DIR" or not name.startswith(OF_THE_APPS)
        }

    def _is_named(self, setting: str) -> bool:
        """Whether the user set it, by value or in the identity form `<setting>__<suffix>`."""
        return any(n == setting or n.startswith(f"{setting}__") for n in self.given)

    def listeners(self) -> tuple[str, ...]:
        """Return the fields of `Ports` that the laptop itself will listen on."""
        wanted = ["main", "mcp", "realm"]
        if self.runs_storage:
            wanted += ["blob", "queue", "table"]
        if self.runs_bus:
            wanted += ["servicebus", "servicebus_http"]
        if self.runs_model:
            wanted += ["model"]
        return tuple(wanted)


def make_bus_connection_string(ports: Ports) -> str:
    """Return the emulator's connection string: its well-known policy and key, without TLS."""
    where = HOST if ports.servicebus == Ports().servicebus else f"{HOST}:{ports.servicebus}"
    return (
        f"Endpoint=sb://{where};SharedAccessKeyName=RootManageSharedAccessKey;"
        "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
    )


def _is_ours(value: str, ports: Ports) -> bool:
    """Whether a connection string names the part that the laptop would start itself."""
    text = value.strip().rstrip(";").lower()
    if text.startswith("endpoint=sb://"):
        address = text.removeprefix("endpoint=sb://").split(";")[0].rstrip("/")
        hosts = (HOST, "localhost")
        ours = {f"{host}:{ports.servicebus}" for host in hosts}
        if ports.servicebus == Ports().servicebus:
            ours |= set(hosts)
        return "usedevelopmentemulator=true" in text and address in ours
    return text == azurite.connection_string(ports).rstrip(";").lower()


def _read_local_settings(repository: Path) -> dict[str, str]:
    """Return the Values of `local.settings.json`, or nothing if the file does not exist.

    Like the Functions host, it turns numbers and booleans into text and ignores null.
    """
    path = repository / "local.settings.json"
    if not path.exists():
        return {}
    try:
        values = json.loads(path.read_text("utf-8-sig"))["Values"]
        found = {name: value for name, value in values.items() if value is not None}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LaptopError(
            f'{path.name} cannot be used ({error}); it must contain {{"Values": {{…}}}} in JSON'
        ) from error
    return {name: _convert_value(path, name, value) for name, value in found.items()}


def _convert_value(path: Path, name: str, value: object) -> str:
    """Return a value as the environment can hold it. Raises LaptopError."""
    if isinstance(value, dict | list):
        raise LaptopError(f"{path.name}: the value of {name!r} must be a string")
    text = value if isinstance(value, str) else json.dumps(value)
    if not name or "=" in name or "\0" in name + text:
        raise LaptopError(f"{path.name}: {name!r} cannot be a setting; rename or remove it")
    return text
