"""Which MCP servers does the package of mcp bring along? Those that mcp_app/package.json lists.

They are installed by its lock. `npx` finds them in `node_modules` of the folder that servers start
in, so that a site which mounts its package read-only, or reaches nothing outside, starts them at
once. Others are downloaded by their first start, into a cache among the temporary files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from packages.errors import PackageError
from packages.stage import RUNNABLE_MODE, settle_modes

APP = "mcp"
NAMES = ("package.json", "package-lock.json")
_TIME_LIMIT_SECONDS = 600
_OF_THE_INSTALLER = Path("node_modules", ".package-lock.json")


def add(folder: Path, *, source: Path) -> None:
    """Install what `source` lists into the package; nothing where it lists none. PackageError."""
    if not all((source / name).is_file() for name in NAMES):
        return
    npm = shutil.which("npm")
    if npm is None:
        raise PackageError(
            f"npm is not there, and {source / NAMES[0]} lists MCP servers; install Node.js 20 or"
            " newer, or remove the file"
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
    (folder / _OF_THE_INSTALLER).unlink(missing_ok=True)
    _replace_links(folder / "node_modules" / ".bin")
    settle_modes(folder)


def _replace_links(programs: Path) -> None:
    """A zip has no links: each becomes a script that runs what it led to."""
    for link in sorted(path for path in programs.iterdir() if path.is_symlink()):
        target = os.readlink(link)
        link.unlink()
        script = f'#!/bin/sh\nexec node "$(dirname "$0")/{target}" "$@"\n'
        link.write_text(script, "utf-8")
        link.chmod(RUNNABLE_MODE)
