"""Installs Microsoft's worker beside the apps' packages. Entry point: `prepare_worker`."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from devhost.errors import LaptopError
from devhost.install import Step
from devhost.worker.pythons import find_python, read_version

LOCK = Path("devhost", "requirements-worker.txt")
TIME_LIMIT_SECONDS = 900.0


def prepare_worker(
    repository: Path, environment: Mapping[str, str], say: Callable[[str], None]
) -> Path:
    """Return the Python of a virtual environment with the worker; make it if it is missing.

    It is made from the lock, checked by hash, in `.aos/worker`. Raises NoWorkerPython, LaptopError.
    """
    base = find_python(environment)
    version = read_version(base, environment) or (0, 0)
    folder = repository / ".aos" / "worker" / f"{version[0]}.{version[1]}"
    lock = repository / LOCK
    step = Step(
        title=f"Microsoft's worker for Python {version[0]}.{version[1]} (PyPI, about 20 MB)",
        sources=(lock,),
        stamps=(folder / ".aos-worker",),
        make=lambda: _make(folder, base=base, lock=lock),
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "install.lock").open("a", encoding="ascii") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        if not step.is_done():
            say(step.title)
            step.finish()
    return folder / "bin" / "python"


def _make(folder: Path, *, base: Path, lock: Path) -> None:
    _run_uv("venv", "--clear", "--python", str(base), str(folder))
    python = str(folder / "bin" / "python")
    install = ("pip", "install", "--python", python, "--compile-bytecode")
    _run_uv(*install, "--require-hashes", "--requirements", str(lock))


def _run_uv(*arguments: str) -> None:
    command = [sys.executable, "-m", "uv", *arguments, "--quiet", "--no-progress"]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "UV_NO_CONFIG": "1"},
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LaptopError(f"uv did not end within {TIME_LIMIT_SECONDS:.0f} s") from error
    if done.returncode != 0:
        reason = " ".join(done.stderr.split())
        raise LaptopError(f"Microsoft's worker cannot be installed: {reason}")
