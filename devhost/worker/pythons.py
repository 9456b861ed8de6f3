"""Finds a Python that Microsoft's worker runs on. Entry point: `find_python`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from devhost.errors import LaptopError

SETTING = "AOS_WORKER_PYTHON"
OLDEST = (3, 13)
"""The oldest Python that the worker from PyPI runs on."""
NEWEST = (3, 14)
PROBE_SECONDS = 20.0
_VERSIONS = [f"{OLDEST[0]}.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]


class NoWorkerPython(LaptopError):
    """This machine has no Python that the worker runs on."""


def find_python(environment: Mapping[str, str]) -> Path:
    """Return the setting's Python, else the oldest suitable one on PATH, else one of pyenv.

    Raises NoWorkerPython if there is none, and LaptopError if the setting names an unsuitable one.
    """
    named = environment.get(SETTING)
    if named:
        if not is_fit(Path(named), environment):
            raise LaptopError(
                f"{SETTING}={named} is not a Python {_describe_range()}; name another one"
            )
        return Path(named)
    for candidate in (*_list_on_path(environment), *_list_of_pyenv(environment)):
        if is_fit(candidate, environment):
            return candidate
    raise NoWorkerPython(
        f"there is no Python {_describe_range()} on PATH or among pyenv's versions, and Microsoft's"
        f" worker needs one; install one, or name it: {SETTING}=/path/to/python{_VERSIONS[0]}"
    )


def is_fit(python: Path, environment: Mapping[str, str]) -> bool:
    """Whether it runs and has a version that the worker runs on. A shim may do neither."""
    version = read_version(python, environment)
    return version is not None and OLDEST <= version <= NEWEST


def read_version(python: Path, environment: Mapping[str, str]) -> tuple[int, int] | None:
    """Return the version that it reports, or None if it does not run."""
    said = _read_output(
        [str(python), "-c", "import sys; print(*sys.version_info[:2])"], environment
    )
    words = (said or "").split()
    return (int(words[0]), int(words[1])) if len(words) == 2 else None


def _describe_range() -> str:
    return f"{_VERSIONS[0]} to {_VERSIONS[-1]}"


def _list_on_path(environment: Mapping[str, str]) -> Iterator[Path]:
    folders = environment.get("PATH", os.defpath)
    for name in (*(f"python{version}" for version in _VERSIONS), "python3", "python"):
        for folder in folders.split(os.pathsep):
            if found := shutil.which(name, path=folder):
                yield Path(found)


def _list_of_pyenv(environment: Mapping[str, str]) -> Iterator[Path]:
    pyenv = shutil.which("pyenv", path=environment.get("PATH", os.defpath))
    root = _read_output([pyenv, "root"], environment) if pyenv else environment.get("PYENV_ROOT")
    if not root:
        return
    versions = Path(root.strip(), "versions")
    for version in _VERSIONS:
        # The newest patch version first.
        for folder in sorted(versions.glob(f"{version}*"), key=_patch, reverse=True):
            yield folder / "bin" / "python"


def _patch(folder: Path) -> int:
    digits = folder.name.rpartition(".")[2]
    return int(digits) if digits.isdigit() else -1


def _read_output(command: list[str], environment: Mapping[str, str]) -> str | None:
    try:
        done = subprocess.run(
            command,
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
