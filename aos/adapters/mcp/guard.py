"""How does an MCP server end when the app that started it does, however that ended?

This file is run as a process of its own (`python -I -S guard.py`), standard library only. It reads
one JSON line from its standard input, the lifeline: the command, the environment and the folder of
the server (so that no secret stands in its own environment or arguments), starts the server on the
three file descriptors that the app handed over, and waits. When the server ends, or the lifeline
closes because the app closed it or died, every process that came of the server is ended: SIGTERM,
then SIGKILL. It exits with the server's code, 128 + signal, or 127 where it could not be started.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time

TERMINATE_SECONDS = 2.0
NOT_STARTED = 127
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Start, wait, end everything; the exit code."""
    stdin, stdout, stderr = (int(number) for number in sys.argv[1:4])
    os.setsid()
    _prctl(PR_SET_CHILD_SUBREAPER, 1)  # who leaves the group and loses its parent comes to us
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return NOT_STARTED
    spec = json.loads(line)
    reader, writer = os.pipe()
    signal.set_wakeup_fd(_not_blocking(writer))
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    child = _start(spec, stdin=stdin, stdout=stdout, stderr=stderr)
    for number in (stdin, stdout, stderr):
        os.close(number)
    code = _wait(child, reader)
    _end_all()
    return code if code is not None else 128 + signal.SIGTERM


def _start(spec: dict[str, object], *, stdin: int, stdout: int, stderr: int) -> int:
    """Fork and become the server in the child."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(NOT_STARTED)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        for source, target in ((stdin, 0), (stdout, 1), (stderr, 2)):
            os.dup2(source, target)
        os.closerange(3, 256)
        if spec["folder"]:
            os.chdir(str(spec["folder"]))
        command = [str(word) for word in spec["command"]]  # type: ignore[attr-defined]
        environment = {str(k): str(v) for k, v in spec["environment"].items()}  # type: ignore[attr-defined]
        os.execvpe(command[0], command, environment)
    except OSError as error:
        os.write(2, f"{spec['command']!r:.200}: {error.strerror}\n".encode())
    finally:
        os._exit(NOT_STARTED)


def _wait(child: int, wakeups: int) -> int | None:
    """The server's exit code, or None when the lifeline closed first."""
    while True:
        ready, _, _ = select.select([0, wakeups], [], [])
        if wakeups in ready:
            if signal.SIGTERM in os.read(wakeups, 256):
                return None
            code = _reap(child)
            if code is not None:
                return code
        if 0 in ready and not os.read(0, 256):
            return None


def _reap(wanted: int) -> int | None:
    """Take leave of every child that has ended; the exit code of `wanted` if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == wanted:
            code = os.waitstatus_to_exitcode(status)
            found = code if code >= 0 else 128 - code


def _end_all() -> None:
    """Ask all that is left to end, and end what does not."""
    ends = time.monotonic() + TERMINATE_SECONDS
    _signal(signal.SIGTERM)
    while _descendants() and time.monotonic() < ends:
        _reap(0)
        time.sleep(0.01)
    while _descendants():
        _signal(signal.SIGKILL)
        _reap(0)
        time.sleep(0.01)
        if time.monotonic() > ends + TERMINATE_SECONDS:
            return


def _signal(number: int) -> None:
    for pid in _descendants():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _descendants() -> list[int]:
    """Every living process below this one; without /proc, what is in its group."""
    me, parents = os.getpid(), {}
    try:
        numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except FileNotFoundError:
        return _children_by_ps(me)
    for pid in numbers:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
        except OSError:
            continue
        if state not in (b"Z", b"X"):
            parents[pid] = int(parent)
    return _below(me, parents)


def _children_by_ps(me: int) -> list[int]:
    """The same on a system without /proc."""
    import subprocess

    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=False
    )
    rows = [line.split(None, 2) for line in listing.stdout.splitlines()]
    parents = {int(row[0]): int(row[1]) for row in rows if not row[2].startswith("Z")}
    return [pid for pid in _below(me, parents) if pid in parents]


def _below(root: int, parents: dict[int, int]) -> list[int]:
    found, seen = [], {root}
    grown = True
    while grown:
        grown = False
        for pid, parent in parents.items():
            if parent in seen and pid not in seen:
                seen.add(pid)
                found.append(pid)
                grown = True
    return found


def _prctl(option: int, value: int) -> None:
    """Linux's prctl; elsewhere the lifeline alone has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _not_blocking(descriptor: int) -> int:
    os.set_blocking(descriptor, False)
    return descriptor


if __name__ == "__main__":
    # The exit code is all there is to say; nothing of Python's own is worth its time.
    code = main()
    os._exit(code)
