"""How does the laptop run Azure Storage?

Azurite from npm, on disk. It writes to disk every 5 s only and forgets acknowledged rows on
kill -9; SIGTERM makes it write first. So it is stopped last, and gently.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from devhost.child import ChildSpec, all_of, answers_http
from devhost.errors import LaptopError
from devhost.ports import HOST, Ports

ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = (  # Azurite's documented key, the same for everybody
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
MINIMUM_NODE = 20
STOP_TIMEOUT_SECONDS = 12.0


def connection_string(ports: Ports) -> str:
    """The long form of `UseDevelopmentStorage=true` for these ports."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
        f"BlobEndpoint=http://{HOST}:{ports.blob}/{ACCOUNT};"
        f"QueueEndpoint=http://{HOST}:{ports.queue}/{ACCOUNT};"
        f"TableEndpoint=http://{HOST}:{ports.table}/{ACCOUNT};"
    )


def azurite_spec(
    *,
    ports: Ports,
    data: Path,
    repository: Path,
    environment: Mapping[str, str],
) -> ChildSpec:
    """Azurite on these ports with its files under `data/azurite`. Raises LaptopError."""
    services = ("blob", "queue", "table")
    listen = [
        part
        for name in services
        for part in (f"--{name}Host", HOST, f"--{name}Port", str(getattr(ports, name)))
    ]
    store = data / "azurite"
    store.mkdir(parents=True, exist_ok=True)
    return ChildSpec(
        name="azurite",
        command=(
            find_node(repository),
            str(find_azurite(repository, environment)),
            *listen,
            "--location",
            str(store),
            "--silent",
            "--skipApiVersionCheck",
            "--disableTelemetry",
        ),
        environment=environment,
        folder=repository,
        ready=all_of(
            *(
                answers_http(HOST, getattr(ports, name), f"/{ACCOUNT}?comp=list", None)
                for name in services
            )
        ),
        log_path=data / "logs" / "azurite.log",
        pid_path=data / "pids" / "azurite.pid",
        stop_timeout_seconds=STOP_TIMEOUT_SECONDS,
    )


def find_azurite(repository: Path, environment: Mapping[str, str]) -> Path:
    """The installed azurite.js, from `AOS_AZURITE_DIR` or the repository. Raises LaptopError."""
    cache = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folders = [repository, cache / "aos" / "azurite"]
    if environment.get("AOS_AZURITE_DIR"):
        folders.insert(0, Path(environment["AOS_AZURITE_DIR"]))
    for folder in folders:
        script = folder / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
        if script.exists():
            return script
    raise LaptopError("Azurite is not installed; run `make run`, which installs it")


def find_node(repository: Path) -> str:
    """A Node that is new enough: the one on PATH, else the one in `.venv`. Raises LaptopError.

    It is the program itself: the `node` of PyPI's wheel, like some version managers', is a script
    that starts it, and a signal to the script would not reach Azurite.
    """
    for candidate in (shutil.which("node"), str(repository / ".venv" / "bin" / "node")):
        if candidate and os.access(candidate, os.X_OK) and node_version(candidate) >= MINIMUM_NODE:
            program = _said_by(candidate, "--print", "process.execPath")
            return program if os.access(program, os.X_OK) else candidate
    raise LaptopError(
        f"no Node {MINIMUM_NODE} or newer is found; run `make run`, which installs one from PyPI"
    )


def node_version(node: str) -> int:
    """The major version of this Node; 0 when it does not say."""
    major = _said_by(node, "--version").removeprefix("v").split(".")[0]
    return int(major) if major.isdecimal() else 0


def _said_by(node: str, *arguments: str) -> str:
    """What it prints; nothing when it cannot be run."""
    try:
        return subprocess.run(
            [node, *arguments], capture_output=True, text=True, timeout=20, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
