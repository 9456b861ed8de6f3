"""Compiles a package for the Python of its site. Entry points: `find_python`, `compile_package`.

A site mounts its package read-only, so what is not compiled in it is compiled again at each cold
start. The .pyc files are unchecked: Python takes them as they are, whatever the time of a source
file says, so that their bytes hang on the sources alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from packages.errors import PackageError
from packages.stage import DEPENDENCIES, PRODUCT, settle_modes

ROOT_IN_AZURE = "/home/site/wwwroot"
"""Where a site sees its package: the paths that stand in .pyc files, and in tracebacks."""
_TIME_LIMIT_SECONDS = 600
_PROBE_SECONDS = 20


def find_python(version: str) -> Path | None:
    """A Python of this version ("3.12"): the running one, on PATH, or one of pyenv's; or None."""
    for candidate in _candidates(version):
        said = _output([str(candidate), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
        if said == version:
            return candidate
    return None


def compile_package(folder: Path, *, python: Path) -> None:
    """Put a .pyc beside every module of the package. Raises PackageError."""
    for part in (folder / "function_app.py", folder / PRODUCT):
        done = _compile(part, root=folder, python=python)
        if done.returncode != 0:
            raise PackageError(f"{part} cannot be compiled by {python}:\n{done.stdout.strip()}")
    if (folder / DEPENDENCIES).is_dir():
        # Distributions may bring files that are for other Pythons, or templates: they stay as is.
        _compile(folder / DEPENDENCIES, root=folder, python=python)
    settle_modes(folder)


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


def _candidates(version: str) -> Iterator[Path]:
    yield Path(sys.executable)
    for name in (f"python{version}", "python3"):
        if found := shutil.which(name):
            yield Path(found)
    pyenv = shutil.which("pyenv")
    root = _output([pyenv, "root"]) if pyenv else os.environ.get("PYENV_ROOT")
    if root:
        yield from sorted(Path(root, "versions").glob(f"{version}.*/bin/python"))


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
