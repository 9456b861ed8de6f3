"""Starts, watches and stops one process of the laptop. Entry point: `Child`.

`ChildSpec` says what to run; `Child` is the running process. Each child has its own session, so
that Ctrl-C in a terminal reaches only the supervisor, which then stops the children in order. On
Linux with `setpriv`, a child also gets SIGTERM if the supervisor is killed.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from devhost.errors import LaptopError

Probe = Callable[[], bool]
"""Returns whether the child serves, within 2 s."""

PROBE_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """What to run, how to know that it is ready, and where its output goes."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    ready: Probe
    log_path: Path
    pid_path: Path
    start_timeout_seconds: float = 60.0
    stop_timeout_seconds: float = 10.0


class Child:
    """One process under a name. After its end another process may follow, never two at once."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.restarts = 0
        self.started_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """The name in messages, in `.aos/logs` and in `.aos/pids`."""
        return self.spec.name

    @property
    def pid(self) -> int:
        """The id of the process that runs now or ran last."""
        if self._process is None:
            raise LaptopError(f"{self.name} was not started")
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code: None while it runs, negative if a signal ended it."""
        return None if self._process is None else self._process.poll()

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process and append its output to the log. Raises LaptopError."""
        spec = self.spec
        self._end_leftovers()
        spec.log_path.parent.mkdir(parents=True, exist_ok=True)
        with spec.log_path.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    [*_make_death_prefix(), *spec.command],
                    cwd=spec.folder,
                    env=dict(spec.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise LaptopError(f"{self.name} cannot be started: {error}") from error
        self.started_at = time.monotonic()
        spec.pid_path.parent.mkdir(parents=True, exist_ok=True)
        spec.pid_path.write_text(f"{self._process.pid}\n", "ascii")

    def is_ready(self) -> bool:
        """Whether it runs and its probe reports that it serves."""
        return self.alive and self.spec.ready()

    def wait_ready(self, timeout_seconds: float = 60.0) -> None:
        """Wait until it serves, across restarts. Raises LaptopError after the timeout."""
        deadline = time.monotonic() + timeout_seconds
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise LaptopError(
                    f"{self.name} is not ready after {timeout_seconds:g} s; {self.describe_log()}"
                )
            time.sleep(0.02)

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, if it still runs."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def kill9(self) -> None:
        """Send SIGKILL to the process and to those it started, and wait for their end."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=10)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and wait for the end of the process, with SIGKILL after the timeout.

        Returns the exit code. The supervisor restarts the child, unless it was told not to.
        """
        if self._process is None:
            return 0
        self.send_signal(number)
        self.send_signal(signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=self.spec.stop_timeout_seconds)
        self.kill9()
        self._end_leftovers()
        self.spec.pid_path.unlink(missing_ok=True)
        return self._process.returncode

    def _end_leftovers(self) -> None:
        """Kill what the ended process left in its group, because that may hold the ports."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def describe_end(self) -> str:
        """Return `exit code 1` or `SIGKILL`, for messages."""
        code = self.exit_code
        if code is None:
            return "still running"
        if code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"

    def describe_log(self) -> str:
        """Return the last line of its log and the log's path, for messages."""
        line = last_line(self.spec.log_path)
        said = f"it said: {line}; " if line else ""
        return f"{said}log: {shorten_path(self.spec.log_path)}"


def make_http_probe(host: str, port: int, path: str, statuses: frozenset[int] | None) -> Probe:
    """Make a probe: GET `path` is answered with one of `statuses` (None: with any status)."""

    def probe() -> bool:
        connection = http.client.HTTPConnection(host, port, timeout=PROBE_TIMEOUT_SECONDS)
        try:
            connection.request("GET", path)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return statuses is None or status in statuses

    return probe


def make_tcp_probe(host: str, port: int) -> Probe:
    """Make a probe: the port accepts connections."""

    def probe() -> bool:
        try:
            socket.create_connection((host, port), timeout=PROBE_TIMEOUT_SECONDS).close()
        except OSError:
            return False
        return True

    return probe


def combine_probes(*probes: Probe) -> Probe:
    """Make a probe that succeeds if all of the probes succeed."""
    return lambda: all(probe() for probe in probes)


def last_line(path: Path, *, limit_bytes: int = 4096) -> str:
    """Return the last non-blank line of a file, cut to 200 characters, or `""`."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - limit_bytes))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


def shorten_path(path: Path) -> str:
    """Return a path for messages: relative if it is below the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _make_death_prefix() -> tuple[str, ...]:
    """Return the command prefix that asks Linux to send SIGTERM when the starting thread ends.

    Linux sends nothing if the supervisor ended before the child asked, so the child looks.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ()
    look = ("/bin/sh", "-c", 'test "$PPID" = "$0" && exec "$@"', str(os.getpid()))
    return (setpriv, "--pdeathsig", "TERM", "--", *look)
