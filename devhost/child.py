"""How does one process of the laptop start, tell that it is ready, and stop?

`ChildSpec` says what to run; `Child` is the running thing. A child lives in a session of its own,
so that Ctrl-C in a terminal reaches the supervisor alone, which then stops the children in order.
Where `setpriv` exists (Linux), a child also gets SIGTERM should the supervisor be killed.
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
"""Answers at once (2 s at most) whether the child serves."""

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
    """One process after another under one name; always at most one at a time."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.restarts = 0
        self.started_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """The name it has in messages, in `.aos/logs` and in `.aos/pids`."""
        return self.spec.name

    @property
    def pid(self) -> int:
        """The process id of the process that runs now, or ran last."""
        if self._process is None:
            raise LaptopError(f"{self.name} was not started")
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return None if self._process is None else self._process.poll()

    @property
    def alive(self) -> bool:
        """Whether a process of it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process; its output is appended to the log. Raises LaptopError."""
        spec = self.spec
        self._end_leftovers()
        spec.log_path.parent.mkdir(parents=True, exist_ok=True)
        with spec.log_path.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    [*_dies_with_us(), *spec.command],
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
        """Whether it runs and its probe says that it serves."""
        return self.alive and self.spec.ready()

    def wait_ready(self, timeout_seconds: float = 60.0) -> None:
        """Wait until it serves, across restarts. Raises LaptopError when the time is over."""
        deadline = time.monotonic() + timeout_seconds
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise LaptopError(
                    f"{self.name} is not ready after {timeout_seconds:g} s; {self.last_words()}"
                )
            time.sleep(0.02)

    def send_signal(self, number: int) -> None:
        """Send a signal to the process; one that has ended already is left alone."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def kill9(self) -> None:
        """SIGKILL to it and to what it started, and wait until it is gone."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=10)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal, wait until the process has ended (SIGKILL when its time is over).

        Returns the exit code. The supervisor starts it again, unless it was told not to.
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
        """SIGKILL to what the process that ended has left in its group: it may hold our ports."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def how_it_ended(self) -> str:
        """`exit code 1` or `SIGKILL`, for messages."""
        code = self.exit_code
        if code is None:
            return "still running"
        if code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"

    def last_words(self) -> str:
        """The last line of its log and the log's path, for messages."""
        line = last_line(self.spec.log_path)
        said = f"it said: {line}; " if line else ""
        return f"{said}log: {shown(self.spec.log_path)}"


def answers_http(host: str, port: int, path: str, statuses: frozenset[int] | None) -> Probe:
    """A probe: GET `path` is answered with one of `statuses` (None: with anything at all)."""

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


def accepts_tcp(host: str, port: int) -> Probe:
    """A probe: something accepts connections on the port."""

    def probe() -> bool:
        try:
            socket.create_connection((host, port), timeout=PROBE_TIMEOUT_SECONDS).close()
        except OSError:
            return False
        return True

    return probe


def all_of(*probes: Probe) -> Probe:
    """A probe that wants every one of the probes."""
    return lambda: all(probe() for probe in probes)


def last_line(path: Path, *, limit_bytes: int = 4096) -> str:
    """The last line of a file that is not blank, cut to 200 characters; `""` if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - limit_bytes))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


def shown(path: Path) -> str:
    """A path as messages show it: relative where it lies below the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _dies_with_us() -> tuple[str, ...]:
    """The prefix that asks Linux for SIGTERM when the thread that started the child is gone."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "TERM", "--") if setpriv else ()
