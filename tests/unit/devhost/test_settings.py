"""What the user set wins; what the laptop starts follows from it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from devhost import keyfile
from devhost.errors import LaptopError
from devhost.ports import Ports
from devhost.settings import LaptopSettings, make_bus_connection_string
from tests.full_disk import full_disk

EMULATOR = (
    "Endpoint=sb://127.0.0.1;SharedAccessKeyName=RootManageSharedAccessKey;"
    "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
)
REAL_BUS = "Endpoint=sb://mine.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=k"


def with_file(folder: Path, **values: str) -> Path:
    (folder / "local.settings.json").write_text(json.dumps({"Values": values}))
    return folder


def test_without_settings_everything_is_local_on_the_usual_ports(tmp_path: Path) -> None:
    settings = LaptopSettings.read({}, tmp_path)
    assert settings.listeners() == (
        *("main", "mcp", "realm", "blob", "queue", "table"),
        *("servicebus", "servicebus_http", "model"),
    )
    assert settings.servicebus_connection_string == EMULATOR
    apps = settings.for_apps()
    assert apps["AOS_MODEL_ENDPOINT"] == "http://127.0.0.1:8091/v1"
    assert apps["AOS_MODEL"] == "smollm2-135m-instruct"
    assert apps["AOS_MODEL_API_KEY"]
    assert "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1" in apps["AzureWebJobsStorage"]


def test_the_plans_four_values_change_nothing_but_what_they_say(tmp_path: Path) -> None:
    repository = with_file(
        tmp_path,
        AzureWebJobsStorage="UseDevelopmentStorage=true",
        FUNCTIONS_WORKER_RUNTIME="python",
        AOS_ENVIRONMENT="local",
        AOS_LOG_LEVEL="DEBUG",
    )
    settings = LaptopSettings.read({"AOS_AZURITE_BLOB_PORT": "11000"}, repository)
    apps = settings.for_apps()
    assert settings.runs_storage
    assert settings.runs_bus
    assert settings.runs_model
    assert (apps["AOS_LOG_LEVEL"], apps["AOS_ENVIRONMENT"]) == ("DEBUG", "local")
    assert ":11000/" in apps["AzureWebJobsStorage"]


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    repository = with_file(tmp_path, AOS_LOG_LEVEL="DEBUG")
    apps = LaptopSettings.read({"AOS_LOG_LEVEL": "ERROR"}, repository).for_apps()
    assert apps["AOS_LOG_LEVEL"] == "ERROR"


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("AZURE_SERVICEBUS_CONNECTION_STRING", REAL_BUS, "runs_bus"),
        ("AZURE_SERVICEBUS_CONNECTION_STRING", EMULATOR, "runs_bus"),
        (
            "AZURE_SERVICEBUS_CONNECTION_STRING__fullyQualifiedNamespace",
            "mine.servicebus.windows.net",
            "runs_bus",
        ),
        ("AZURE_STORAGE_CONNECTION_STRING", "AccountName=mine;AccountKey=a", "runs_storage"),
        ("AZURE_STORAGE_CONNECTION_STRING__accountName", "mine", "runs_storage"),
        ("AOS_MODEL_ENDPOINT", "http://127.0.0.1:9/v1", "runs_model"),
    ],
)
def test_a_part_that_the_user_names_is_used_and_not_started(
    tmp_path: Path, name: str, value: str, part: str
) -> None:
    settings = LaptopSettings.read({name: value}, tmp_path)
    runs = {p: getattr(settings, p) for p in ("runs_bus", "runs_storage", "runs_model")}
    assert runs == {"runs_bus": True, "runs_storage": True, "runs_model": True} | {part: False}
    apps = settings.for_apps()
    assert apps[name] == value
    exact = name.partition("__")[0]
    assert exact == name or exact not in apps  # an exact name would beat the identity form


def test_a_sample_file_that_names_our_own_bus_still_starts_it(tmp_path: Path) -> None:
    repository = with_file(tmp_path, AZURE_SERVICEBUS_CONNECTION_STRING=EMULATOR)
    assert LaptopSettings.read({}, repository).runs_bus
    elsewhere = LaptopSettings.read({"AOS_SERVICEBUS_PORT": "5673"}, repository)
    assert not elsewhere.runs_bus


def test_an_empty_setting_is_an_absent_one(tmp_path: Path) -> None:
    settings = LaptopSettings.read({"AOS_MODEL_ENDPOINT": " ", "AOS_MODELS": ""}, tmp_path)
    assert settings.runs_model
    assert settings.for_apps()["AOS_MODEL_ENDPOINT"] == "http://127.0.0.1:8091/v1"
    assert "AOS_MODELS" not in settings.for_apps()


def test_secrets_do_not_show_in_the_repr(tmp_path: Path) -> None:
    environment = {"AZURE_SERVICEBUS_CONNECTION_STRING": REAL_BUS, "AOS_MODEL_API_KEY": "sk-1"}
    assert "sk-1" not in repr(LaptopSettings.read(environment, tmp_path))
    assert "SharedAccessKey" not in repr(LaptopSettings.read(environment, tmp_path))


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"AOS_MAIN_PORT": "many"}, "AOS_MAIN_PORT='many' is not a port; write a number from 1"),
        ({"AOS_MAIN_PORT": "70000"}, "AOS_MAIN_PORT='70000' is not a port"),
        ({"AOS_MCP_PORT": "7071"}, "AOS_MCP_PORT and AOS_MAIN_PORT both name port 7071"),
        ({"AOS_AUTH": "maybe"}, "AOS_AUTH='maybe' is not known; write one of off, keys, easyauth"),
    ],
)
def test_a_bad_value_names_its_setting(
    tmp_path: Path, environment: dict[str, str], message: str
) -> None:
    with pytest.raises(LaptopError, match=message):
        LaptopSettings.read(environment, tmp_path)


def test_a_broken_settings_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "local.settings.json").write_text("{")
    with pytest.raises(LaptopError, match=r"local\.settings\.json cannot be used"):
        LaptopSettings.read({}, tmp_path)


def test_numbers_and_truth_values_of_the_file_are_their_text(tmp_path: Path) -> None:
    values = {"AOS_MAIN_PORT": 17071, "A": True, "B": None, "C": ""}
    (tmp_path / "local.settings.json").write_text(json.dumps({"Values": values}))
    settings = LaptopSettings.read({}, tmp_path)
    assert settings.ports.main == 17071
    assert settings.inherited == {"AOS_MAIN_PORT": "17071", "A": "true", "C": ""}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"A": {}}, r"the value of 'A' must be a string"),
        ({"A=B": "c"}, r"'A=B' cannot be a setting"),
        ({"": "c"}, r"'' cannot be a setting"),
        ({"A": "b\0c"}, r"'A' cannot be a setting"),
    ],
)
def test_what_no_environment_can_hold_is_a_clear_error(
    tmp_path: Path, values: dict[str, object], message: str
) -> None:
    (tmp_path / "local.settings.json").write_text(json.dumps({"Values": values}))
    with pytest.raises(LaptopError, match=message):
        LaptopSettings.read({}, tmp_path)


def test_free_ports_differ() -> None:
    ports = Ports.free()
    numbers = {getattr(ports, name) for name in Ports.__slots__}
    assert len(numbers) == len(Ports.__slots__)


def test_a_moved_bus_has_its_port_in_the_connection_string() -> None:
    assert "sb://127.0.0.1:5999;" in make_bus_connection_string(Ports(servicebus=5999))


def test_keys_stay_the_same_and_private(tmp_path: Path) -> None:
    path = tmp_path / "data" / "keys.json"
    keys = keyfile.ensure_keys(path)
    path.chmod(0o644)
    assert keyfile.ensure_keys(path) == keys
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_leaves_no_half_of_the_keys(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"0123456789")
    with full_disk(tmp_path / "small"), pytest.raises(OSError, match="too large"):
        keyfile.ensure_keys(tmp_path / "keys.json")
    assert set(keyfile.ensure_keys(tmp_path / "keys.json")) == set(keyfile.KEY_NAMES)
    assert {path.name for path in tmp_path.iterdir()} == {"small", "keys.json"}


def test_the_doors_know_the_default_key_and_the_admins() -> None:
    keys = {"default": "d", "second": "s", "admin": "a"}
    assert keyfile.make_key_settings(keys) == {
        "AOS_KEY_OWNERS": f"default={hashlib.sha256(b'd').hexdigest()}",
        "AOS_ADMIN_KEYS": hashlib.sha256(b"a").hexdigest(),
    }


@pytest.mark.parametrize("text", ["", "[]", '{"default": "a"}'])
def test_a_key_file_without_the_three_keys_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(LaptopError, match="delete it to get new keys"):
        keyfile.ensure_keys(path)
