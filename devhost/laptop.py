"""Runs storage, Service Bus, model and the three apps from a program. Entry point: `Laptop`.

with Laptop(root=tmp_path, model_endpoint="http://127.0.0.1:9000/v1") as laptop:
    urllib.request.urlopen(laptop.urls["main"] + "/api/status")
    laptop.child("realm").kill9()  # it is restarted, as under `make run`
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from devhost import azurite, keyfile, model
from devhost.apps import APP_FOLDERS, BUS_CONFIG, Places, make_app_spec, make_bus_spec
from devhost.child import Child, ChildSpec
from devhost.errors import LaptopError
from devhost.ports import HOST, SETTING_OF_PORT, Ports, find_busy_ports
from devhost.provision import create_storage
from devhost.settings import MODEL_ENDPOINT, LaptopSettings
from devhost.supervisor import Say, Supervisor

AZURITE_FOLDER = "AOS_AZURITE_DIR"
REPOSITORY = Path(__file__).resolve().parent.parent
Step = Callable[[str], None]


class Laptop:
    """The same processes as `make run`, as a context manager, sync or async.

    `root` is the data folder (`.aos` for `make run`; a temporary one in tests). It keeps the state,
    so a second Laptop on the same `root` finds what the first one wrote.
    """

    def __init__(
        self,
        *,
        root: Path,
        ports: Ports | None = None,
        model_endpoint: str | None = None,
        servicebus_config: Path | None = None,
        apps: Sequence[str] = ("main", "mcp", "realm"),
        settings: Mapping[str, str] | None = None,
        restart: bool = True,
        repository: Path = REPOSITORY,
        say: Say = lambda line: None,
        resolved: LaptopSettings | None = None,
    ) -> None:
        """Use free ports and ignore the caller's own AOS and Azure settings, unless they are given.

        `model_endpoint` None starts the local model. `settings` go to the three apps and override
        the laptop's choices. With `restart` False, a child that ends stays down until `bring_up`.
        `resolved` replaces ports, model endpoint and settings.
        """
        self.settings = resolved or LaptopSettings.resolve(
            _build_environment(ports or Ports.free(), settings or {}, model_endpoint=model_endpoint)
        )
        self.places = Places(repository=repository, data=root.resolve())
        self.supervisor = Supervisor(say=say, restart=restart)
        self._apps = tuple(apps)
        self._config = servicebus_config
        self.keys: dict[str, str] = {}

    @classmethod
    def for_user(cls, settings: LaptopSettings, *, places: Places, say: Say) -> Self:
        """Make the laptop of `make run`: fixed ports and the user's own settings."""
        return cls(
            root=places.data,
            apps=tuple(APP_FOLDERS),
            repository=places.repository,
            say=say,
            resolved=settings,
        )

    @property
    def urls(self) -> dict[str, str]:
        """The base URL of each app, without a slash at the end. Routes begin with `/api`."""
        return {name: f"http://{HOST}:{getattr(self.settings.ports, name)}" for name in self._apps}

    @property
    def servicebus_connection_string(self) -> str:
        """The apps' value of `AZURE_SERVICEBUS_CONNECTION_STRING`."""
        return self.settings.servicebus_connection_string

    @property
    def storage_connection_string(self) -> str:
        """The apps' value of `AZURE_STORAGE_CONNECTION_STRING`."""
        return self.settings.storage_connection_string

    @property
    def model_endpoint(self) -> str:
        """The apps' value of `AOS_MODEL_ENDPOINT`."""
        return self.settings.for_apps()[MODEL_ENDPOINT]

    def child(self, name: str) -> Child:
        """Return the child: `azurite`, `servicebus`, `model`, `main`, `mcp` or `realm`."""
        return self.supervisor.child(name)

    def take_down(self, name: str) -> None:
        """Stop a child gently; it stays down until `bring_up`."""
        self.supervisor.take_down(name)

    def bring_up(self, name: str) -> None:
        """Start a child that is down and wait until it serves."""
        self.supervisor.bring_up(name)

    def change(self, name: str, environment: Mapping[str, str]) -> None:
        """Start a child again, with this environment."""
        self.take_down(name)
        child = self.child(name)
        child.spec = replace(child.spec, environment=environment)
        self.bring_up(name)

    def start(self, step: Step = lambda line: None) -> None:
        """Start everything in order and return when all of it serves.

        `step` is called with what comes next. Raises LaptopError; then nothing is left running.
        """
        try:
            self._start(step)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything, the apps first and Azurite last. A second call does nothing."""
        self.supervisor.stop()

    def _start(self, step: Step) -> None:
        settings = self.settings
        busy = find_busy_ports(settings.ports, self._list_listeners())
        if busy:
            raise LaptopError("; ".join(busy))
        if settings.auth == "keys":
            self.keys = keyfile.ensure_keys(self.places.keys)
        first = self._list_infrastructure()
        step("starting " + (", ".join(spec.name for spec in first) or "nothing of its own"))
        # One wave each, so that stopping goes backwards and Azurite ends last.
        for spec in first:
            self.supervisor.start([spec], wait=False)
        self.supervisor.wait_ready([spec.name for spec in first if spec.name != "model"])
        if settings.storage_connection_string:
            step("creating containers, tables and queues")
            create_storage(settings.storage_connection_string)
        step("starting " + ", ".join(self._apps))
        environment = self._build_app_environment()
        self.supervisor.start(
            [
                make_app_spec(
                    name,
                    ports=settings.ports,
                    places=self.places,
                    environment=environment,
                    keys=bool(self.keys),
                )
                for name in self._apps
            ]
        )
        if settings.runs_model:
            self.supervisor.wait_ready(["model"])

    def _list_infrastructure(self) -> list[ChildSpec]:
        """Return the specs of storage, bus and model, Azurite first."""
        settings, places = self.settings, self.places
        inherited, ports = settings.for_infrastructure(), settings.ports
        specs = []
        if settings.runs_storage:
            specs.append(
                azurite.make_azurite_spec(
                    ports=ports,
                    data=places.data,
                    repository=places.repository,
                    environment=inherited,
                )
            )
        if settings.runs_bus:
            config = self._config or places.repository / BUS_CONFIG
            specs.append(
                make_bus_spec(ports=ports, places=places, environment=inherited, config=config)
            )
        if settings.runs_model:
            specs.append(
                model.make_model_spec(
                    ports=ports,
                    data=places.data,
                    repository=places.repository,
                    environment=inherited,
                )
            )
        return specs

    def _build_app_environment(self) -> dict[str, str]:
        environment = self.settings.for_apps()
        environment.setdefault("AOS_MCP_SECRETS_FILE", str(self.places.data / "secrets.json"))
        if self.keys:
            environment = {**keyfile.make_key_settings(self.keys), **environment}
        return environment

    def _list_listeners(self) -> tuple[str, ...]:
        left_out = set(APP_FOLDERS) - set(self._apps)
        return tuple(name for name in self.settings.listeners() if name not in left_out)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.stop)


def _drop_user_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the user's settings, so that all such laptops are alike."""
    ours = ("AOS_", "AZURE_", "AzureWebJobs")
    return {
        name: value
        for name, value in environment.items()
        if name == AZURITE_FOLDER or not name.startswith(ours)
    }


def _build_environment(
    ports: Ports, settings: Mapping[str, str], *, model_endpoint: str | None
) -> dict[str, str]:
    """Return the environment of the apps of a program's laptop."""
    environment = _drop_user_settings(os.environ) | _make_port_settings(ports) | dict(settings)
    if model_endpoint is not None:
        environment[MODEL_ENDPOINT] = model_endpoint
        environment.setdefault("AOS_MODEL_API_KEY", "local")
    return environment


def _make_port_settings(ports: Ports) -> dict[str, str]:
    return {setting: str(getattr(ports, name)) for name, setting in SETTING_OF_PORT.items()}
