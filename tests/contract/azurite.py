"""How do tests get a real Azure Storage on this machine?

`running_azurite()` installs Azurite from npm once into the user's cache, starts it on free
loopback ports and stops it again; `azurite` is the same as a session fixture. The connection
string it gives works for blobs, queues and tables.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import selectors
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

AZURITE_VERSION = "3.35.0"
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 20.0
INSTALL_TIMEOUT_SECONDS = 300.0
_LISTENING = re.compile(rb"Azurite (Blob|Queue|Table) service is successfully listening at (\S+)")

ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = (  # Azurite's documented key, the same for everybody
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Azurite:
    """A running Azurite: its three URLs (account included) and its process id."""

    blob_url: str
    queue_url: str
    table_url: str
    pid: int

    @property
    def connection_string(self) -> str:
        """What `AZURE_STORAGE_CONNECTION_STRING` and `AzureWebJobsStorage` would hold."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
            f"BlobEndpoint={self.blob_url};QueueEndpoint={self.queue_url};"
            f"TableEndpoint={self.table_url};"
        )


def azurite_script() -> Path:
    """The installed azurite.js; installs it on first use (npm, into the user's cache)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("AOS_AZURITE_DIR") or cache / "aos" / "azurite")
    script = folder / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
    if not script.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "install.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not script.exists():
                _install(folder)
    return script


def _install(folder: Path) -> None:
    package = f"azurite@{AZURITE_VERSION}"
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), package]
    subprocess.run(command, check=True, timeout=INSTALL_TIMEOUT_SECONDS, capture_output=True)


@contextlib.contextmanager
def running_azurite(
    *, location: Path | None = None, preload: Path | None = None
) -> Iterator[Azurite]:
    """Azurite on free ports; in memory, or on disk under `location`. Stopped with SIGTERM.

    `preload` is loaded before it.
    """
    store = ["--location", str(location)] if location else ["--inMemoryPersistence"]
    services = ("blob", "queue", "table")
    ports = [
        arg for name in services for arg in (f"--{name}Host", "127.0.0.1", f"--{name}Port", "0")
    ]
    first = ["--require", str(preload)] if preload else []
    options = ["--skipApiVersionCheck", "--silent", "--disableTelemetry"]
    process = subprocess.Popen(
        ["node", *first, str(azurite_script()), *ports, *store, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )
    try:
        urls = _wait_until_listening(process)
        yield Azurite(
            blob_url=f"{urls['Blob']}/{ACCOUNT}",
            queue_url=f"{urls['Queue']}/{ACCOUNT}",
            table_url=f"{urls['Table']}/{ACCOUNT}",
            pid=process.pid,
        )
    finally:
        process.terminate()
        try:
            process.communicate(timeout=STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _wait_until_listening(process: subprocess.Popen[bytes]) -> dict[str, str]:
    """Read the process's output until all three services have said where they listen."""
    assert process.stdout is not None
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    output = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            if not selector.select(timeout=1.0):
                continue
            chunk = os.read(process.stdout.fileno(), 65536)
            output += chunk
            found = {m[1].decode(): m[2].decode() for m in _LISTENING.finditer(output)}
            if len(found) == 3 and output.endswith(b"\n"):
                return found
            if not chunk:
                break
    raise RuntimeError(f"Azurite did not start: {output.decode(errors='replace')}")


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """One in-memory Azurite for the whole test session; use containers of your own."""
    with running_azurite() as running:
        yield running
