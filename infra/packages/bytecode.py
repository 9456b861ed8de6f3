"""Compiles a package for the Python of its site. Entry points: `find_python`, `compile_package`.

A site mounts its package read-only, so a module without a .pyc file is compiled at each cold start.
The .pyc files are unchecked: Python does not compare them with the time of the source file. So
their bytes depend only on the sources.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from infra.packages.stage import DEPENDENCIES, PRODUCT, PackageError, set_modes

ROOT_IN_AZURE = "/home/site/wwwroot"
"""Where a site mounts its package. The paths in .pyc files and in tracebacks begin with it."""
_TIME_LIMIT_SECONDS = 600
_PROBE_SECONDS = 20


def find_python(version: str) -> Path | None:
    """Find a Python of a version such as 3.12: this one, on PATH, or of pyenv. None if missing."""
    for candidate in _list_candidates(version):
        printed = _read_output(
            [str(candidate), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        )
        if printed == version:
            return candidate
    return None


def compile_package(folder: Path, *, python: Path) -> None:
    """Write a .pyc file for every module of the package. Raises PackageError."""
    for part in (folder / "function_app.py", folder / PRODUCT):
        done = _compile(part, root=folder, python=python)
        if done.returncode != 0:
            raise PackageError(f"{part} cannot be compiled by {python}:\n{done.stdout.strip()}")
    if (folder / DEPENDENCIES).is_dir():
        # Distributions may contain templates or files for other Python versions, so errors are
        # ignored here.
        _compile(folder / DEPENDENCIES, root=folder, python=python)
    set_modes(folder)


def _compile(part: Path, *, root: Path, python: Path) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-S", "-m", "compileall", "-q", "--invalidation-mode"]
    command += ["unchecked-hash", "-s", str(root), "-p", ROOT_IN_AZURE, str(part)]
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    try:
        return subprocess.run(
            command,
            env={**kept, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            timeout=_TIME_LIMIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PackageError(f"{python} did not compile {part}: {error}") from error


def _list_candidates(version: str) -> Iterator[Path]:
    yield Path(sys.executable)
    for name in (f"python{version}", "python3"):
        if found := shutil.which(name):
            yield Path(found)
    pyenv = shutil.which("pyenv")
    root = _read_output([pyenv, "root"]) if pyenv else os.environ.get("PYENV_ROOT")
    if root:
        yield from sorted(Path(root, "versions").glob(f"{version}.*/bin/python"))


def _read_output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
