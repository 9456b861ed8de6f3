"""Packages are compiled for the Python of their sites, and a start compiles nothing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.infra.packages.packing import APPS, package, tree, zipped_packages

UNCHECKED_HASH = 0b01
"""The flags of a .pyc that is taken whatever its source says."""
SETTINGS = {"AZURE_FUNCTIONS_ENVIRONMENT": "Development"}
START = "import function_app, aos, sys; print(aos.__file__)"


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages as a site has them: out of their zips."""
    folder = tmp_path_factory.mktemp("mounted")
    packages = zipped_packages(tmp_path_factory)
    for app in APPS:
        with zipfile.ZipFile(packages / f"{app}.zip") as archive:
            archive.extractall(folder / app)
    return folder


def start(folder: Path) -> subprocess.CompletedProcess[str]:
    """Import an app as a worker would, free to write what it likes."""
    forbidden = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "AOS_APP")
    kept = {name: value for name, value in os.environ.items() if name not in forbidden}
    return subprocess.run(
        [sys.executable, "-c", START],
        cwd=folder,
        env={**kept, **SETTINGS, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("app", APPS)
def test_every_module_has_bytecode_that_hangs_on_no_time(
    mounted: Path, app: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    packed_below = str(tmp_path_factory.getbasetemp().parent).encode()
    modules = sorted((mounted / app).rglob("*.py"))
    assert modules
    for module in modules:
        compiled = Path(importlib.util.cache_from_source(str(module))).read_bytes()
        assert compiled[:4] == importlib.util.MAGIC_NUMBER
        assert int.from_bytes(compiled[4:8], "little") == UNCHECKED_HASH
        assert compiled[8:16] == importlib.util.source_hash(module.read_bytes())
        # The paths of the site, not of the machine that has packed.
        assert packed_below not in compiled


@pytest.mark.parametrize("app", APPS)
def test_a_start_from_the_package_writes_nothing(mounted: Path, app: str) -> None:
    before = tree(mounted / app)
    started = start(mounted / app)
    assert started.returncode == 0, started.stderr
    assert Path(started.stdout.splitlines()[-1]).is_relative_to(mounted / app)
    assert tree(mounted / app) == before


def test_a_start_from_the_package_takes_the_bytecode_and_reads_no_source(
    mounted: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(mounted / "realm", tmp_path / "realm")
    for module in folder.rglob("*.py"):
        module.write_text("raise RuntimeError('compiled again')\n")
    started = start(folder)
    assert started.returncode == 0, started.stderr


def test_where_no_python_of_the_sites_is_found_it_is_said_and_packed_without(
    tmp_path: Path,
) -> None:
    said = package("main", "--out", str(tmp_path), "--python-version", "3.99")
    assert said.code == 0
    assert said.err.startswith(
        "the packages have no .pyc files: this machine has no Python 3.99, the version of the sites"
    )
    assert list(tmp_path.rglob("*.pyc")) == []


def test_bytecode_that_is_required_and_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    wanted = ("--bytecode", "require", "--python-version", "3.99")
    said = package("main", "--out", str(tmp_path), *wanted)
    assert said.code == 1
    assert (
        "the package was not built: this machine has no Python 3.99, the version of the sites"
        in said.err
    )
    assert list(tmp_path.iterdir()) == []


def test_packages_can_do_without_bytecode(tmp_path: Path) -> None:
    said = package("main", "--out", str(tmp_path), "--bytecode", "none")
    assert (said.code, said.err) == (0, "")
    assert list(tmp_path.rglob("*.pyc")) == []
