"""Which Python runs Microsoft's worker, and what is said where there is none?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from devhost.errors import LaptopError
from devhost.worker.pythons import NoWorkerPython, find_python
from tests.infra.packages.packing import REPOSITORY

BARE = "/usr/bin:/bin"
"""Behind the folder of a test, whose Pythons are found first."""


def a_python(path: Path, version: str) -> Path:
    """A program that says it is this version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version.replace('.', ' ')}\n")
    path.chmod(0o755)
    return path


def a_program(path: Path, script: str) -> Path:
    """A shell script that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_the_setting_goes_before_what_is_on_the_path(tmp_path: Path) -> None:
    a_python(tmp_path / "bin" / "python3.13", "3.13")
    mine = a_python(tmp_path / "mine" / "py", "3.14")
    path = f"{tmp_path / 'bin'}:{BARE}"
    assert find_python({"PATH": path, "AOS_WORKER_PYTHON": str(mine)}) == mine


@pytest.mark.parametrize("version", ["3.12", "3.15"])
def test_a_setting_that_names_an_unfit_python_is_refused(tmp_path: Path, version: str) -> None:
    mine = a_python(tmp_path / "py", version)
    with pytest.raises(LaptopError, match=r"AOS_WORKER_PYTHON=.* is not a Python 3.13 to 3.14"):
        find_python({"PATH": BARE, "AOS_WORKER_PYTHON": str(mine)})


def test_a_shim_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    a_program(tmp_path / "shims" / "python3.13", "exit 127")
    real = a_python(tmp_path / "real" / "python3.14", "3.14")
    path = f"{tmp_path / 'shims'}:{tmp_path / 'real'}:{BARE}"
    assert find_python({"PATH": path}) == real


def test_a_plain_python3_that_is_new_enough_is_found(tmp_path: Path) -> None:
    found = a_python(tmp_path / "bin" / "python3", "3.13")
    assert find_python({"PATH": f"{tmp_path / 'bin'}:{BARE}"}) == found


def test_pyenvs_versions_are_looked_at_and_the_newest_patch_is_taken(tmp_path: Path) -> None:
    root = tmp_path / "pyenv"
    a_program(tmp_path / "bin" / "pyenv", f"echo {root}")
    for version in ("3.12.4", "3.13.2", "3.13.10", "3.13.9"):
        a_python(root / "versions" / version / "bin" / "python", version.rpartition(".")[0])
    only = a_program(tmp_path / "bin" / "python3", "exit 1")
    environment = {"PATH": str(only.parent)}
    expected = root / "versions" / "3.13.10" / "bin" / "python"
    assert find_python(environment) == expected


def test_where_there_is_none_it_is_said_what_to_do(tmp_path: Path) -> None:
    a_python(tmp_path / "bin" / "python3", "3.11")
    with pytest.raises(NoWorkerPython) as caught:
        find_python({"PATH": str(tmp_path / "bin")})
    assert "AOS_WORKER_PYTHON=/path/to/python3.13" in str(caught.value)


def test_the_command_ends_with_its_own_code_where_there_is_none(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "devhost.worker"],
        cwd=REPOSITORY,
        env={"PATH": str(tmp_path), "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.startswith("NOT CHECKED: there is no Python 3.13 to 3.14")
