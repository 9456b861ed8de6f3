"""Reads an app's settings and host.json. Entry points: `apply_local_settings`, `read_host_json`.

`local.settings.json` adds settings that the environment does not have; as with Core Tools, the
environment wins. Of host.json, only what this host uses is read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devhost.functions.errors import HostError

BUS = "AZURE_SERVICEBUS_CONNECTION_STRING"
STORAGE = "AZURE_STORAGE_CONNECTION_STRING"
LOCAL_STORAGE = "UseDevelopmentStorage=true"
LOCAL_BUS = (
    "Endpoint=sb://127.0.0.1;SharedAccessKeyName=RootManageSharedAccessKey;"
    "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
)
_EXPRESSION = re.compile(r"%([^%]+)%")
_TIME_SPAN = re.compile(r"(?:(\d{1,8})\.)?(\d{1,8}):(\d{1,8})(?::(\d{1,8})(?:\.(\d{1,9}))?)?")


CORES = "AOS_HOST_CORES"
MAX_CORES = 1_024


def _count_cores() -> int:
    """Return the number of cores that this process may use, as .NET counts them."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable is not None else os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BusOptions:
    """host.json `extensions.serviceBus`; times in seconds; defaults of Azure for this number of
    cores.

    `max_concurrent_calls` None means 16 for each core.
    """

    cores: int = field(default_factory=_count_cores)
    max_concurrent_calls: int | None = None
    max_concurrent_sessions: int = 8
    auto_complete: bool = True
    lock_renewal_seconds: float = 300.0
    session_idle_seconds: float | None = None
    prefetch: int = 0

    @property
    def concurrent_calls(self) -> int:
        """How many messages without sessions a function may have at once."""
        return 16 * self.cores if self.max_concurrent_calls is None else self.max_concurrent_calls

    @property
    def concurrent_accepts(self) -> int:
        """How many sessions a function's pump may request at once, as .NET's processor does."""
        return min(self.max_concurrent_sessions, 2 * self.cores)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """host.json `extensions.queues`; times in seconds."""

    encoding: str = "base64"
    batch_size: int = 16
    max_dequeue_count: int = 5
    retry_after_seconds: float = 0.0
    max_polling_seconds: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """The settings of host.json that this host uses."""

    route_prefix: str = "api"
    function_timeout_seconds: float | None = 1800.0
    has_bundle: bool = False
    bus: BusOptions = field(default_factory=BusOptions)
    queues: QueueOptions = field(default_factory=QueueOptions)


def read_cores(environment: Mapping[str, str]) -> int:
    """Return the cores of an instance as the host counts them. Raises HostError for a wrong
    setting."""
    text = environment.get(CORES, "").strip()
    if not text:
        return _count_cores()
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= MAX_CORES:
        raise HostError(f"{CORES}={text!r} is not a whole number from 1 to {MAX_CORES}")
    return int(text)


def read_host_json(folder: Path, *, cores: int | None = None) -> HostOptions:
    """Read `folder/host.json`. Raises HostError.

    `cores` is the number of cores of an instance; None counts the cores of this machine.
    """
    document = _read_json(folder / "host.json", what="host.json")
    if document.get("version") != "2.0":
        raise HostError(f'{folder / "host.json"}: "version" must be "2.0"')
    extensions = document.get("extensions") or {}
    timeout = document.get("functionTimeout", "00:30:00")
    return HostOptions(
        route_prefix=(extensions.get("http") or {}).get("routePrefix", "api").strip("/"),
        function_timeout_seconds=None if timeout == "-1" else seconds(timeout),
        has_bundle="id" in (document.get("extensionBundle") or {}),
        bus=_read_bus_options(extensions.get("serviceBus") or {}, cores),
        queues=_read_queue_options(extensions.get("queues") or {}),
    )


def apply_local_settings(path: Path, environment: MutableMapping[str, str]) -> None:
    """Add the file's Values to the environment where a name is missing. A missing file changes
    nothing.

    Like Core Tools it also sets AZURE_FUNCTIONS_ENVIRONMENT if that is unset. If no Service Bus is
    set, the local one is used.
    """
    if path.exists():
        document = _read_json(path, what="the settings file")
        if document.get("IsEncrypted"):
            raise HostError(f"{path} is encrypted; run `func settings decrypt` or write a new one")
        for name, value in (document.get("Values") or {}).items():
            if isinstance(value, (dict, list)):
                raise HostError(f"{path}: the value of {name!r} must be a string")
            environment.setdefault(name, value if isinstance(value, str) else json.dumps(value))
    environment.setdefault("AZURE_FUNCTIONS_ENVIRONMENT", "Development")
    is_laptop = environment["AZURE_FUNCTIONS_ENVIRONMENT"] == "Development"
    if is_laptop and not any(name.startswith(BUS) for name in environment):
        environment[BUS] = LOCAL_BUS
    if is_laptop and not any(name.startswith(STORAGE) for name in environment):
        environment[STORAGE] = LOCAL_STORAGE


def resolve_expressions(value: str, environment: Mapping[str, str], *, where: str) -> str:
    """Replace each `%NAME%` by that setting. Raises HostError for a missing one."""

    def setting(match: re.Match[str]) -> str:
        name = match[1]
        found = environment.get(name, environment.get(name.replace(":", "__")))
        if found is None:
            raise HostError(
                f"{where}: %{name}% does not resolve; set {name} in the environment "
                "or in local.settings.json"
            )
        return found

    return _EXPRESSION.sub(setting, value)


def seconds(text: str) -> float:
    """Convert a .NET TimeSpan `[d.]hh:mm[:ss[.fff]]` to seconds; as in .NET, `24:00:00` means 24
    days."""
    match = _TIME_SPAN.fullmatch(text.strip())
    if match is None:
        raise HostError(f"{text!r} is not a time span; write hh:mm:ss")
    days, first, second, third, fraction = match.groups()
    parts = (int(days or 0), int(first), int(second), int(third or 0))
    if days is None and parts[1] > 23:
        parts = (parts[1], parts[2], parts[3], 0)
    whole = ((parts[0] * 24 + parts[1]) * 60 + parts[2]) * 60 + parts[3]
    return whole + float(f"0.{fraction or 0}")


def _read_bus_options(options: Mapping[str, Any], cores: int | None) -> BusOptions:
    given: dict[str, Any] = {} if cores is None else {"cores": cores}
    for key, name in (
        ("maxConcurrentCalls", "max_concurrent_calls"),
        ("maxConcurrentSessions", "max_concurrent_sessions"),
        ("prefetchCount", "prefetch"),
        ("autoCompleteMessages", "auto_complete"),
    ):
        if key in options:
            given[name] = options[key]
    if "maxAutoLockRenewalDuration" in options:
        given["lock_renewal_seconds"] = seconds(options["maxAutoLockRenewalDuration"])
    if options.get("sessionIdleTimeout") is not None:
        given["session_idle_seconds"] = seconds(options["sessionIdleTimeout"])
    return BusOptions(**given)


def _read_queue_options(options: Mapping[str, Any]) -> QueueOptions:
    encoding = str(options.get("messageEncoding", "base64")).lower()
    if encoding not in ("base64", "none"):
        raise HostError(f'host.json: queues.messageEncoding {encoding!r} is not "base64" or "none"')
    given: dict[str, Any] = {"encoding": encoding}
    if "batchSize" in options:
        given["batch_size"] = options["batchSize"]
    if "maxDequeueCount" in options:
        given["max_dequeue_count"] = options["maxDequeueCount"]
    if "visibilityTimeout" in options:
        given["retry_after_seconds"] = seconds(options["visibilityTimeout"])
    if "maxPollingInterval" in options:
        given["max_polling_seconds"] = seconds(options["maxPollingInterval"])
    return QueueOptions(**given)


def _read_json(path: Path, *, what: str) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise HostError(f"{path} does not exist; an app needs {what} in its folder") from None
    except ValueError as error:
        raise HostError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise HostError(f"{path} must contain a JSON object")
    return document
