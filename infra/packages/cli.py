"""Reads the command line of package.py and runs the command. Entry point: `main`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.packages import bytecode, dependencies, servers
from infra.packages.stage import (
    APP_FOLDERS,
    PackageError,
    hash_files,
    make_zip,
    measure_size,
    stage,
)

REPOSITORY = Path(__file__).resolve().parents[2]
MEGABYTE = 1_000_000


def main(argv: Sequence[str]) -> int:
    """Build the packages of the named apps, or of all. Return 0, or 1 with the reason on stderr."""
    options = make_parser().parse_args(argv)
    try:
        python = _find_compiler(options)
        for app in options.app or APP_FOLDERS:
            sys.stdout.write(_build_package(app, options, python) + "\n")
            sys.stdout.flush()
    except (PackageError, OSError) as error:
        sys.stderr.write(f"the package was not built: {error}\n")
        return 1
    return 0


def _find_compiler(options: argparse.Namespace) -> Path | None:
    """Find the Python that compiles the packages. None when it is not wanted or not installed."""
    if options.bytecode == "none":
        return None
    python = bytecode.find_python(options.python_version)
    if python is None:
        problem = f"this machine has no Python {options.python_version}, the version of the sites"
        if options.bytecode == "require":
            raise PackageError(f"{problem}; install it, or pass --bytecode none")
        sys.stderr.write(
            f"the packages have no .pyc files: {problem}; each cold start compiles the modules\n"
        )
    return python


def _build_package(app: str, options: argparse.Namespace, python: Path | None) -> str:
    """Build one package and describe it on one line."""
    folder: Path = options.out / app
    stage(app, repository=options.repository, folder=folder)
    if options.dependencies:
        dependencies.add_dependencies(folder, python_version=options.python_version)
        if app == servers.APP:
            servers.add_servers(folder, source=options.repository / APP_FOLDERS[app])
    if python is not None:
        bytecode.compile_package(folder, python=python)
    parts = [f"{folder}", f"{measure_size(folder) / MEGABYTE:.2f} MB"]
    if options.zip:
        target = options.out / f"{app}.zip"
        make_zip(folder, target)
        parts.append(f"{target.name} {target.stat().st_size / MEGABYTE:.2f} MB")
    return "  ".join([*parts, f"sha256 {hash_files(folder)}"])


def _parse_app(name: str) -> str:
    if name not in APP_FOLDERS:
        raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(APP_FOLDERS)}")
    return name


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="package.py", description="Pack main, mcp and realm for publishing."
    )
    parser.add_argument("app", nargs="*", type=_parse_app, help="main, mcp, realm (default: all)")
    parser.add_argument("--zip", action="store_true", help="also write build/<app>.zip")
    parser.add_argument(
        "--dependencies",
        action="store_true",
        help="install requirements.txt into the package, for sites that mount it without a build",
    )
    parser.add_argument(
        "--python-version",
        default=dependencies.PYTHON_VERSION,
        metavar="X.Y",
        help=f"Python version of the sites (default: {dependencies.PYTHON_VERSION})",
    )
    parser.add_argument(
        "--bytecode",
        choices=("auto", "require", "none"),
        default="auto",
        help="write .pyc files: if that Python is found, or fail without it, or never (auto)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=REPOSITORY / "build",
        metavar="FOLDER",
        help="folder of the packages (default: build/ in the repository)",
    )
    parser.add_argument(
        "--repository", type=Path, default=REPOSITORY, metavar="FOLDER", help=argparse.SUPPRESS
    )
    return parser
