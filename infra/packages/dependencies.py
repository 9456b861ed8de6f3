"""Installs the requirements of an app into its package. Entry point: `add_dependencies`.

This is not needed when Azure builds (`func azure functionapp publish`, `config-zip --build-remote
true`). It is needed when the platform mounts a zip without a build (a blob in `app-package`, a site
that reaches no package registry). uv installs only wheels, by hash, for the platform of the app.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from infra.packages.stage import DEPENDENCIES, PackageError, set_modes

PYTHON_VERSION = "3.12"
"""The Python version of the function apps (`pythonVersion` in Bicep)."""
PLATFORM = "x86_64-manylinux_2_28"
_TIME_LIMIT_SECONDS = 900
_INSTALLER_FILES = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")
"""Files with paths and times of the installer. No code reads them."""


def add_dependencies(folder: Path, *, python_version: str) -> None:
    """Install the requirements.txt of a package into it. Raises PackageError."""
    target = folder / DEPENDENCIES
    _install(folder / "requirements.txt", target, python_version)
    for extra in (target / "bin", target / ".lock"):
        if extra.is_dir():
            shutil.rmtree(extra)
        else:
            extra.unlink(missing_ok=True)
    for information in target.glob("*.dist-info"):
        for name in _INSTALLER_FILES:
            (information / name).unlink(missing_ok=True)
    set_modes(folder)


def _install(requirements: Path, target: Path, python_version: str) -> None:
    command = [*_find_uv(), "pip", "install", "--quiet", "--no-progress", "--target", str(target)]
    command += ["--python-platform", PLATFORM, "--python-version", python_version]
    command += ["--only-binary", ":all:", "--require-hashes", "--link-mode", "copy"]
    command += ["--no-deps", "--requirements", str(requirements)]
    # requirements.txt is the lock; the settings of a pyproject.toml must not change it.
    environment = {**os.environ, "UV_NO_CONFIG": "1"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIME_LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PackageError(f"uv did not end within {_TIME_LIMIT_SECONDS} s") from error
    if done.returncode != 0:
        raise PackageError(f"{requirements} cannot be installed:\n{done.stderr.strip()}")


def _find_uv() -> list[str]:
    """Find uv beside this Python (requirements-dev.txt installs it), else on PATH."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise PackageError("uv is not installed: run pip install -r requirements-dev.txt")
    return [found]
