"""Runs Azure Storage on the laptop with Azurite from npm. Entry point: `make_azurite_spec`.

Azurite writes to disk only every 5 s and loses confirmed rows on kill -9; on SIGTERM it writes
first. So it is stopped last, with SIGTERM.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from devhost.child import ChildSpec, combine_probes, make_http_probe
from devhost.errors import LaptopError
from devhost.ports import HOST, Ports

ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = (  # Azurite's documented key, which is the same on every machine
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
ROWS = Path(__file__).with_name("azurite_rows.cjs")
"""Makes Azurite find rows by its indexes instead of reading whole tables."""
MEMORY = Path(__file__).with_name("azurite_memory.cjs")
"""Makes Azurite load and save with less memory."""
YOUNG_OBJECTS = "--max-semi-space-size=2"
"""Node keeps 2 MB of young objects where it would keep up to 16: 30 MB less after 100 turns, and no
more processor time for a call than measurements differ by."""
MINIMUM_NODE = 20
STOP_TIMEOUT_SECONDS = 12.0


def connection_string(ports: Ports) -> str:
    """Return the long form of `UseDevelopmentStorage=true` for these ports."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
        f"BlobEndpoint=http://{HOST}:{ports.blob}/{ACCOUNT};"
        f"QueueEndpoint=http://{HOST}:{ports.queue}/{ACCOUNT};"
        f"TableEndpoint=http://{HOST}:{ports.table}/{ACCOUNT};"
    )


def make_azurite_spec(
    *,
    ports: Ports,
    data: Path,
    repository: Path,
    environment: Mapping[str, str],
) -> ChildSpec:
    """Describe Azurite on these ports, with its files in `data/azurite`. Raises LaptopError."""
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
            YOUNG_OBJECTS,
            "--require",
            str(ROWS),
            "--require",
            str(MEMORY),
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
        ready=combine_probes(
            *(
                make_http_probe(HOST, getattr(ports, name), f"/{ACCOUNT}?comp=list", None)
                for name in services
            )
        ),
        log_path=data / "logs" / "azurite.log",
        pid_path=data / "pids" / "azurite.pid",
        stop_timeout_seconds=STOP_TIMEOUT_SECONDS,
    )


def find_azurite(repository: Path, environment: Mapping[str, str]) -> Path:
    """Find the installed azurite.js in `AOS_AZURITE_DIR` or the repository. Raises LaptopError."""
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
    """Find a Node that is new enough, on PATH or in `.venv`. Raises LaptopError.

    It returns the program itself. The `node` of PyPI's wheel and of some version managers is a
    script that starts the program, and a signal to the script would not reach Azurite.
    """
    for candidate in (shutil.which("node"), str(repository / ".venv" / "bin" / "node")):
        if (
            candidate
            and os.access(candidate, os.X_OK)
            and read_node_version(candidate) >= MINIMUM_NODE
        ):
            program = _read_output(candidate, "--print", "process.execPath")
            return program if os.access(program, os.X_OK) else candidate
    raise LaptopError(
        f"Node {MINIMUM_NODE} or newer was not found; run `make run`, which installs one from PyPI"
    )


def read_node_version(node: str) -> int:
    """Return the major version of this Node, or 0 if it is unknown."""
    major = _read_output(node, "--version").removeprefix("v").split(".")[0]
    return int(major) if major.isdecimal() else 0


def _read_output(node: str, *arguments: str) -> str:
    """Return what the program prints, or nothing if it cannot run."""
    try:
        return subprocess.run(
            [node, *arguments], capture_output=True, text=True, timeout=20, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
