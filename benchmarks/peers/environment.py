"""Makes the virtual environment of the peers, on demand. Entry point: `prepare_environment`."""

from __future__ import annotations

import hashlib
import os
import subprocess
import venv
from collections.abc import Callable
from pathlib import Path

REQUIREMENTS = "benchmarks/peers/requirements.txt"
FOLDER = ".aos/peers"
INSTALL_SECONDS = 900.0


def prepare_environment(repository: Path, say: Callable[[str], None]) -> Path:
    """Return the Python that has what requirements.txt names, installed by hash if it has not."""
    folder, lock = repository / FOLDER, repository / REQUIREMENTS
    scripts = "Scripts" if os.name == "nt" else "bin"
    python = folder / scripts / ("python.exe" if os.name == "nt" else "python")
    mark, digest = folder / "installed", hashlib.sha256(lock.read_bytes()).hexdigest()
    if mark.exists() and mark.read_text("utf-8") == digest:
        return python
    say(f"  installing {REQUIREMENTS} into {FOLDER} (about 100 MB, once)")
    venv.create(folder, with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--require-hashes"]
    subprocess.run([*command, "-r", str(lock)], check=True, timeout=INSTALL_SECONDS)
    mark.write_text(digest, "utf-8")
    return python
