"""The laptop as a context manager and as `up`: real Azurite, the other parts of paper."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from devhost import keyfile
from devhost.errors import LaptopError
from devhost.ports import SETTING_OF_PORT, Ports
from devhost.settings import LaptopSettings
from devhost.up import Laptop, up
from tests.contract.azurite import azurite_script
from tests.unit.devhost.conftest import wait_until
from tests.unit.devhost.paper_repository import write_repository

REPOSITORY = Path(__file__).resolve().parents[3]
READY = "Ctrl-C stops everything"
MODEL = "http://127.0.0.1:9/v1"


@pytest.fixture(scope="module", autouse=True)
def installed_azurite() -> None:
    azurite_script()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return write_repository(tmp_path / "repository")


def fetch(url: str) -> dict[str, str]:
    with urllib.request.urlopen(url, timeout=10) as response:
        return dict(json.load(response))


def is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def test_laptop_serves_and_gives_addresses_and_leaves_nothing_running(
    repository: Path, tmp_path: Path
) -> None:
    with Laptop(root=tmp_path / "data", model_endpoint=MODEL, repository=repository) as laptop:
        environment = fetch(laptop.urls["realm"] + "/api/health")
        pids = [child.pid for child in laptop.supervisor.children]
        ports = laptop.settings.ports
    assert environment["AZURE_SERVICEBUS_CONNECTION_STRING"] == laptop.servicebus_connection_string
    assert environment["AZURE_STORAGE_CONNECTION_STRING"] == laptop.storage_connection_string
    assert environment["AzureWebJobsStorage"] == laptop.storage_connection_string
    assert f"sb://127.0.0.1:{ports.servicebus};" in laptop.servicebus_connection_string
    assert environment["AOS_MODEL_ENDPOINT"] == MODEL
    assert environment["AZURE_FUNCTIONS_ENVIRONMENT"] == "Development"
    assert environment["FUNCTIONS_WORKER_RUNTIME"] == "python"
    assert environment["AOS_ENVIRONMENT"] == "dev"
    assert len(pids) == 5
    assert not any(is_open(getattr(ports, name)) for name in SETTING_OF_PORT)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_apps_end_before_the_service_bus(repository: Path, tmp_path: Path) -> None:
    with Laptop(root=tmp_path / "data", model_endpoint=MODEL, repository=repository):
        pass
    ends = (repository / "ends").read_text().split()
    assert (sorted(ends[:3]), ends[3:]) == (["mcp_app", "realm_app", "repository"], ["servicebus"])


async def test_laptop_is_an_async_context_manager_too(repository: Path, tmp_path: Path) -> None:
    async with Laptop(
        root=tmp_path / "data", model_endpoint=MODEL, repository=repository, apps=("main",)
    ) as laptop:
        assert list(laptop.urls) == ["main"]
        assert laptop.child("main").alive


def test_a_killed_app_comes_back_on_its_port(repository: Path, tmp_path: Path) -> None:
    with Laptop(
        root=tmp_path / "data", model_endpoint=MODEL, repository=repository, apps=("realm",)
    ) as laptop:
        realm = laptop.child("realm")
        first = realm.pid
        realm.kill9()
        wait_until(lambda: realm.pid != first, what="the restart")
        realm.wait_ready(10)
        assert fetch(laptop.urls["realm"] + "/api/health")


def test_storage_survives_a_restart_of_the_laptop(repository: Path, tmp_path: Path) -> None:
    from azure.storage.blob import ContainerClient

    def container(laptop: Laptop) -> ContainerClient:
        return ContainerClient.from_connection_string(
            laptop.storage_connection_string, "aos-config"
        )

    def laptop() -> Laptop:
        return Laptop(root=tmp_path / "data", model_endpoint=MODEL, repository=repository, apps=())

    with laptop() as first, container(first) as blobs:
        blobs.upload_blob("agents/ceo.json", b"{}")
    with laptop() as second, container(second) as blobs:
        assert list(blobs.list_blob_names()) == ["agents/ceo.json"]


def test_a_busy_port_is_named_with_its_setting_and_nothing_starts(
    repository: Path, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        laptop = Laptop(
            root=tmp_path / "data",
            model_endpoint=MODEL,
            repository=repository,
            settings={"AOS_REALM_PORT": str(port)},
        )
        with pytest.raises(LaptopError) as caught, laptop:
            pytest.fail("it started")
    assert str(caught.value) == (
        f"port {port} (realm) is in use; set AOS_REALM_PORT to a free one, or stop what listens "
        "there"
    )
    assert laptop.supervisor.children == []


@contextlib.contextmanager
def running_up(
    repository: Path, *, ports: Ports, **settings: str
) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """`devhost up` on the repository of paper, in a process group of its own; its output file."""
    output = repository / f"output-{len(list(repository.glob('output-*')))}.txt"
    moved = {name: str(getattr(ports, field)) for field, name in SETTING_OF_PORT.items()}
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("AOS_", "AZURE_"))}
    kept = {n: v for n, v in os.environ.items() if n == "AOS_AZURITE_DIR"}
    program = (
        "import sys, pathlib; from devhost.up import up;"
        f"sys.exit(up(repository=pathlib.Path({str(repository)!r})))"
    )
    (repository / ".aos").mkdir(exist_ok=True)
    (repository / ".aos" / "story-told").touch()
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env=clean | kept | moved | {"PYTHONPATH": str(REPOSITORY)} | settings,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        yield process, output
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)


def wait_for_text(output: Path, text: str, process: subprocess.Popen[str]) -> None:
    wait_until(
        lambda: text in output.read_text() or process.poll() is not None, what=f"the text {text!r}"
    )
    assert text in output.read_text()


def test_up_ends_everything_on_one_sigint_to_its_group(repository: Path) -> None:
    ports = Ports.free()
    with running_up(repository, ports=ports, AOS_MODEL_ENDPOINT=MODEL) as (process, output):
        wait_for_text(output, READY, process)
        for port in (ports.main, ports.mcp, ports.realm):
            assert fetch(f"http://127.0.0.1:{port}/api/health")
        pids = [int(path.read_text()) for path in (repository / ".aos" / "pids").iterdir()]
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert time.monotonic() - began < 30
    lines = output.read_text().splitlines()
    assert lines[-2:] == ["stopping …", "stopped; data is kept in .aos/"]
    ready = [line for line in lines if READY in line]
    assert ready == ["Ctrl-C stops everything; data is kept in .aos/"]
    assert len(pids) == 5
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not any(is_open(getattr(ports, name)) for name in SETTING_OF_PORT)


def test_up_under_nohup_ignores_a_closed_terminal(repository: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the new process inherits it
    try:
        with running_up(repository, ports=Ports.free(), AOS_MODEL_ENDPOINT=MODEL) as (up, output):
            wait_for_text(output, READY, up)
            status = Path(f"/proc/{up.pid}/status").read_text()
    finally:
        signal.signal(signal.SIGHUP, before)
    (ignored,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:")]
    assert int(ignored, 16) & 1 << signal.SIGHUP - 1


def test_up_restarts_a_killed_realm_and_says_so_once(repository: Path) -> None:
    with running_up(repository, ports=Ports.free(), AOS_MODEL_ENDPOINT=MODEL) as (process, output):
        wait_for_text(output, READY, process)
        pid_path = repository / ".aos" / "pids" / "realm.pid"
        os.kill(int(pid_path.read_text()), signal.SIGKILL)
        wait_for_text(output, "realm ended (SIGKILL) and was started again", process)
    assert output.read_text().count("realm ended") == 1


def test_up_with_keys_writes_them_for_the_owner_alone_and_never_shows_them(
    repository: Path,
) -> None:
    ports = Ports.free()
    settings = {"AOS_MODEL_ENDPOINT": MODEL, "AOS_AUTH": "keys"}
    with running_up(repository, ports=ports, **settings) as (process, output):
        wait_for_text(output, READY, process)
        environment = fetch(f"http://127.0.0.1:{ports.main}/api/health")
    command = next(line for line in output.read_text().splitlines() if "aos ask" in line)
    assert command.startswith(f'  AOS_URL=http://127.0.0.1:{ports.main} AOS_KEY="$(python3 -c ')
    path = repository / ".aos" / "keys.json"
    keys = json.loads(path.read_text())
    assert list(keys) == ["default", "second", "admin"]
    assert len(set(keys.values())) == 3
    assert path.stat().st_mode & 0o777 == 0o600
    assert environment["keys"] == str(path)
    given = {name: environment[name] for name in ("AOS_KEY_OWNERS", "AOS_ADMIN_KEYS")}
    assert given == keyfile.make_key_settings(keys)
    everything = output.read_text() + "".join(
        log.read_text() for log in (repository / ".aos" / "logs").glob("*.log")
    )
    assert not any(key in everything for key in keys.values())


def test_a_second_up_in_the_same_folder_is_refused_with_one_line(repository: Path) -> None:
    ports = Ports.free()
    with running_up(repository, ports=ports, AOS_MODEL_ENDPOINT=MODEL) as (process, output):
        wait_for_text(output, READY, process)
        with running_up(repository, ports=ports, AOS_MODEL_ENDPOINT=MODEL) as (second, text):
            assert second.wait(timeout=20) == 1
            assert text.read_text() == (
                "AOS cannot run: another laptop runs in this folder, "
                f"pid {process.pid}; stop it first\n"
            )


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".aos").write_text("not a folder")
    said = io.StringIO()
    assert up(repository=tmp_path, environment={}, output=said) == 1
    assert said.getvalue() == f"AOS cannot run: [Errno 17] File exists: '{tmp_path / '.aos'}'\n"


def test_ctrl_c_before_anything_has_started_is_no_traceback(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(settings: LaptopSettings, **rest: object) -> Laptop:
        raise KeyboardInterrupt

    monkeypatch.setattr(Laptop, "for_user", interrupted)
    said = io.StringIO()
    assert up(repository=repository, environment={}, output=said) == 130
    assert said.getvalue() == "stopped; nothing had started\n"


def test_an_app_that_does_not_start_is_one_line_with_its_log(repository: Path) -> None:
    (repository / "devhost" / "functions" / "__main__.py").write_text(
        "raise SystemExit('function_app.py is missing')"
    )
    with running_up(repository, ports=Ports.free(), AOS_MODEL_ENDPOINT=MODEL) as (process, output):
        assert process.wait(timeout=30) == 1
    last = output.read_text().splitlines()[-1]
    assert last.startswith("AOS cannot run: ")
    assert "did not start (exit code 1); it said: function_app.py is missing; log: " in last
