"""Installs the MCP servers of mcp_app/package.json into the package. Entry point: `add_servers`.

Their versions are those of the lock. `npx` finds them in `node_modules` of the folder in which
servers start, so they start without a download, also where the package is read-only or the network
is closed. Other servers are downloaded at their first start into a temporary cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from infra.packages.stage import RUNNABLE_MODE, PackageError, set_modes

APP = "mcp"
NAMES = ("package.json", "package-lock.json")
_TIME_LIMIT_SECONDS = 600
_INSTALLER_FILE = Path("node_modules", ".package-lock.json")


def add_servers(folder: Path, *, source: Path) -> None:
    """Install the servers that `source` lists, if it lists any. Raises PackageError."""
    if not all((source / name).is_file() for name in NAMES):
        return
    npm = shutil.which("npm")
    if npm is None:
        raise PackageError(
            f"npm is not installed, but {source / NAMES[0]} lists MCP servers; install Node.js 20"
            " or newer, or remove the file"
        )
    for name in NAMES:
        shutil.copyfile(source / name, folder / name)
    command = [npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_TIME_LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PackageError(f"npm did not end within {_TIME_LIMIT_SECONDS} s") from error
    if done.returncode != 0:
        raise PackageError(f"the MCP servers cannot be installed:\n{done.stderr.strip()}")
    (folder / _INSTALLER_FILE).unlink(missing_ok=True)
    _replace_links(folder / "node_modules" / ".bin")
    set_modes(folder)


def _replace_links(programs: Path) -> None:
    """Replace each link by a script that runs its target, because a zip has no links."""
    for link in sorted(path for path in programs.iterdir() if path.is_symlink()):
        target = os.readlink(link)
        link.unlink()
        script = f'#!/bin/sh\nexec node "$(dirname "$0")/{target}" "$@"\n'
        link.write_text(script, "utf-8")
        link.chmod(RUNNABLE_MODE)
