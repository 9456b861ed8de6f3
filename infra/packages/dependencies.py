"""How does a package bring along what its requirements.txt names?

Where Azure builds (`func azure functionapp publish`, `config-zip --build-remote true`) it need
not. Where the platform mounts a zip as it is (a blob in `app-package`, a site that reaches no
package registry), it must. uv installs from wheels alone, by hash, for the platform of the app.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from packages.errors import PackageError
from packages.stage import DEPENDENCIES, settle_modes

PYTHON_VERSION = "3.12"
"""What the function apps run (`pythonVersion` in Bicep)."""
PLATFORM = "x86_64-manylinux_2_28"
_TIME_LIMIT_SECONDS = 900
_OF_THE_INSTALLER = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")
"""Notes of the installer: they hold its paths and times, and no code reads them."""


def add(folder: Path, *, python_version: str) -> None:
    """Install the package's requirements.txt into it. Raises PackageError."""
    target = folder / DEPENDENCIES
    _install(folder / "requirements.txt", target, python_version)
    for extra in (target / "bin", target / ".lock"):
        if extra.is_dir():
            shutil.rmtree(extra)
        else:
            extra.unlink(missing_ok=True)
    for information in target.glob("*.dist-info"):
        for name in _OF_THE_INSTALLER:
            (information / name).unlink(missing_ok=True)
    settle_modes(folder)


def _install(requirements: Path, target: Path, python_version: str) -> None:
    command = [*_uv(), "pip", "install", "--quiet", "--no-progress", "--target", str(target)]
    command += ["--python-platform", PLATFORM, "--python-version", python_version]
    command += ["--only-binary", ":all:", "--require-hashes", "--link-mode", "copy"]
    command += ["--no-deps", "--requirements", str(requirements)]
    # The lock lies in requirements.txt; no pyproject.toml may add to it.
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


def _uv() -> list[str]:
    """uv of this Python (requirements-dev.txt has it), else the one on PATH."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise PackageError("uv is not there: pip install -r requirements-dev.txt brings it")
    return [found]
