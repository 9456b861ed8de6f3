#!/usr/bin/env python3
"""How are the three apps packed for publishing? `python infra/package.py` → build/main|mcp|realm.

Each folder under build/ can be published as it is: `cd build/mcp && func azure functionapp
publish aos-dev-mcp-func --python`. The same sources give the same bytes. A package knows its app:
on the site of another (setting AOS_APP) it refuses to start and says so. It is compiled for the
Python of the sites where this machine has one of that version; without, a cold start takes longer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from packages import archive, bytecode, dependencies, servers
from packages.errors import PackageError
from packages.stage import APP_FOLDERS, stage

REPOSITORY = Path(__file__).resolve().parent.parent
MEGABYTE = 1_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Stage the apps that are named, or all three; 0, or 1 with the reason on stderr."""
    options = _parser().parse_args(arguments)
    try:
        python = _compiler(options)
        for app in options.app or APP_FOLDERS:
            sys.stdout.write(_made(app, options, python) + "\n")
            sys.stdout.flush()
    except (PackageError, OSError) as error:
        sys.stderr.write(f"no package: {error}\n")
        return 1
    return 0


def _compiler(options: argparse.Namespace) -> Path | None:
    """The Python that compiles the packages; None where it is not wanted, or is not there."""
    if options.bytecode == "none":
        return None
    python = bytecode.find_python(options.python_version)
    if python is None:
        lack = f"no Python {options.python_version}, which the sites run, is on this machine"
        if options.bytecode == "require":
            raise PackageError(f"{lack}; install it, or choose --bytecode none")
        sys.stderr.write(f"packed without .pyc files: {lack}; each cold start will compile\n")
    return python


def _made(app: str, options: argparse.Namespace, python: Path | None) -> str:
    """Make one package and say what it is."""
    folder: Path = options.out / app
    stage(app, repository=options.repository, folder=folder)
    if options.dependencies:
        dependencies.add(folder, python_version=options.python_version)
        if app == servers.APP:
            servers.add(folder, source=options.repository / APP_FOLDERS[app])
    if python is not None:
        bytecode.compile_package(folder, python=python)
    parts = [f"{folder}", f"{archive.size(folder) / MEGABYTE:.2f} MB"]
    if options.zip:
        target = options.out / f"{app}.zip"
        archive.make_zip(folder, target)
        parts.append(f"{target.name} {target.stat().st_size / MEGABYTE:.2f} MB")
    return "  ".join([*parts, f"sha256 {archive.digest(folder)}"])


def _app(name: str) -> str:
    if name not in APP_FOLDERS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(APP_FOLDERS)}")
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="package.py", description="Pack main, mcp and realm for publishing."
    )
    parser.add_argument("app", nargs="*", type=_app, help="main, mcp, realm (all)")
    parser.add_argument("--zip", action="store_true", help="also write build/<app>.zip")
    parser.add_argument(
        "--dependencies",
        action="store_true",
        help="bring along what requirements.txt names: for sites that mount the package as it is",
    )
    parser.add_argument(
        "--python-version",
        default=dependencies.PYTHON_VERSION,
        metavar="X.Y",
        help=f"of the sites ({dependencies.PYTHON_VERSION})",
    )
    parser.add_argument(
        "--bytecode",
        choices=("auto", "require", "none"),
        default="auto",
        help=".pyc files: where a Python of that version is found, in any case, or none (auto)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=REPOSITORY / "build",
        metavar="FOLDER",
        help="where the packages go (build/ in the repository)",
    )
    parser.add_argument(
        "--repository", type=Path, default=REPOSITORY, metavar="FOLDER", help=argparse.SUPPRESS
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
