"""Settings and host.json are read as Core Tools and Azure's host read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from devhost.functions.errors import HostError
from devhost.functions.settings import (
    BUS,
    LOCAL_BUS,
    BusOptions,
    QueueOptions,
    apply_local_settings,
    read_cores,
    read_host_json,
    resolve_expressions,
    seconds,
)


def _host(folder: Path, document: dict[str, Any]) -> Path:
    (folder / "host.json").write_text(json.dumps(document), "utf-8")
    return folder


def test_the_environment_wins_over_the_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "local.settings.json"
    values = {"ONE": "file", "TWO": "file", "NUMBER": 3}
    file.write_text(json.dumps({"IsEncrypted": False, "Values": values}), "utf-8-sig")
    environment = {"ONE": "environment"}
    apply_local_settings(file, environment)
    assert environment == {
        "ONE": "environment",
        "TWO": "file",
        "NUMBER": "3",
        "AZURE_FUNCTIONS_ENVIRONMENT": "Development",
        "AZURE_STORAGE_CONNECTION_STRING": "UseDevelopmentStorage=true",
        BUS: LOCAL_BUS,
    }


def test_a_service_bus_that_is_named_by_identity_is_not_replaced(tmp_path: Path) -> None:
    environment = {f"{BUS}__fullyQualifiedNamespace": "x.servicebus.windows.net"}
    apply_local_settings(tmp_path / "local.settings.json", environment)
    assert BUS not in environment


def test_without_a_settings_file_only_the_environments_name_is_set(tmp_path: Path) -> None:
    environment = {"AZURE_FUNCTIONS_ENVIRONMENT": "Production"}
    apply_local_settings(tmp_path / "local.settings.json", environment)
    assert environment == {"AZURE_FUNCTIONS_ENVIRONMENT": "Production"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ('{"IsEncrypted": true}', "is encrypted"),
        ('{"Values": {"A": {}}}', "the value of 'A' must be a string"),
        ("[]", "must contain a JSON object"),
    ],
)
def test_an_unusable_settings_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "local.settings.json"
    file.write_text(text)
    with pytest.raises(HostError, match=message):
        apply_local_settings(file, {})


def test_host_json_has_azures_defaults(tmp_path: Path) -> None:
    options = read_host_json(_host(tmp_path, {"version": "2.0"}))
    assert (options.route_prefix, options.function_timeout_seconds) == ("api", 1800.0)
    assert (options.bus.max_concurrent_sessions, options.bus.lock_renewal_seconds) == (8, 300.0)
    assert options.queues == QueueOptions()


@pytest.mark.parametrize(("cores", "calls", "accepts"), [(1, 16, 2), (2, 32, 4), (8, 128, 8)])
def test_cores_set_how_much_runs_at_once(
    tmp_path: Path, cores: int, calls: int, accepts: int
) -> None:
    bus = read_host_json(_host(tmp_path, {"version": "2.0"}), cores=cores).bus
    assert (bus.concurrent_calls, bus.concurrent_accepts) == (calls, accepts)
    given = {"maxConcurrentCalls": 5, "maxConcurrentSessions": 3}
    document = {"version": "2.0", "extensions": {"serviceBus": given}}
    bus = read_host_json(_host(tmp_path, document), cores=cores).bus
    assert (bus.concurrent_calls, bus.concurrent_accepts) == (5, min(3, 2 * cores))


def test_cores_are_the_machines_unless_they_are_set() -> None:
    assert read_cores({"AOS_HOST_CORES": " 3 "}) == 3
    assert read_cores({"AOS_HOST_CORES": ""}) == read_cores({}) == BusOptions().cores >= 1


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "1025", "9" * 5_000, "٣"])
def test_cores_that_are_no_number_are_refused(text: str) -> None:
    with pytest.raises(HostError, match="AOS_HOST_CORES"):
        read_cores({"AOS_HOST_CORES": text})


def test_host_json_bounds_are_read(tmp_path: Path) -> None:
    bus = {
        "maxConcurrentCalls": 4,
        "maxConcurrentSessions": 64,
        "autoCompleteMessages": False,
        "maxAutoLockRenewalDuration": "23:59:59",
        "sessionIdleTimeout": "00:00:00.250",
        "prefetchCount": 0,
    }
    queues = {"messageEncoding": "none", "maxDequeueCount": 2, "maxPollingInterval": "00:00:30"}
    options = read_host_json(
        _host(
            tmp_path,
            {
                "version": "2.0",
                "functionTimeout": "00:10:00",
                "extensions": {
                    "http": {"routePrefix": ""},
                    "serviceBus": bus,
                    "queues": queues,
                },
            },
        )
    )
    assert (options.route_prefix, options.function_timeout_seconds) == ("", 600.0)
    assert options.bus == BusOptions(
        max_concurrent_calls=4,
        max_concurrent_sessions=64,
        auto_complete=False,
        lock_renewal_seconds=86399.0,
        session_idle_seconds=0.25,
    )
    assert options.queues == QueueOptions(
        encoding="none", max_dequeue_count=2, max_polling_seconds=30.0
    )


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, '"version" must be "2.0"'),
        ({"version": "2.0", "functionTimeout": "soon"}, "'soon' is not a time span"),
        (
            {"version": "2.0", "extensions": {"queues": {"messageEncoding": "utf"}}},
            "messageEncoding 'utf'",
        ),
    ],
)
def test_an_unusable_host_json_is_refused(
    tmp_path: Path, document: dict[str, Any], message: str
) -> None:
    with pytest.raises(HostError, match=message):
        read_host_json(_host(tmp_path, document))


def test_a_folder_without_host_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"host\.json does not exist"):
        read_host_json(tmp_path)


def test_expressions_are_settings() -> None:
    environment = {"A": "1", "B__C": "2"}
    assert resolve_expressions("x-%A%-%B:C%", environment, where="here") == "x-1-2"
    with pytest.raises(HostError, match="here: %NO% does not resolve"):
        resolve_expressions("%NO%", environment, where="here")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("00:00:05", 5.0),
        ("00:00:00.250", 0.25),
        ("1.02:03:04", 93784.0),
        ("23:59:59", 86399.0),
        ("24:00:00", 24 * 86400.0),  # .NET's trap: days
    ],
)
def test_time_spans_are_read_as_dotnet_does(text: str, expected: float) -> None:
    assert seconds(text) == expected
