"""Starts an MCP server behind walls and ends all that came of it. Entry point: `main`.

This file is run as a process of its own (`python -I -S guard.py`), standard library only. It first
enters a user namespace of its own and makes itself unreadable. Then it reads one JSON line from its
standard input, the lifeline: the command, the environment, the folders and the limits of the server
(so that no secret stands in its own environment or arguments). It starts the server on the three
file descriptors that the app handed over, says on its standard output which walls stand, and waits.
When the server ends or uses too much, or the lifeline closes because the app closed it or died,
every process that came of the server is ended: SIGTERM, then SIGKILL. It exits with the server's
code, 128 + signal, or 127 where it could not be started.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False  # `typing` would cost the start of every server 5 ms
if TYPE_CHECKING:
    from typing import Any

    from aos.adapters.mcp import folders, usage, walls
else:  # isolated: neither this folder nor AOS is on the search path
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import folders
    import usage
    import walls

TERMINATE_SECONDS = 2.0
NOT_STARTED = 127
WATCH_SECONDS = 1.0
"""Between two looks at what the server's processes use."""
MIB = 1024 * 1024
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Start, wait, end everything; the exit code."""
    stdin, stdout, stderr = (int(number) for number in sys.argv[1:4])
    isolation = sys.argv[4]
    os.setsid()
    _prctl(PR_SET_CHILD_SUBREAPER, 1)  # who leaves the group and loses its parent comes to us
    separate = isolation in ("auto", "required") and walls.separate()
    walls.hide()
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return NOT_STARTED
    spec = json.loads(line)
    reader, writer = os.pipe()
    signal.set_wakeup_fd(_not_blocking(writer))
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    uid = _user_of_its_own(spec, isolation=isolation, separate=separate)
    standing = _standing(isolation, separate=separate, uid=uid)
    os.write(1, (" ".join(standing) + "\n").encode())
    if isolation in ("required", "user") and not (standing if isolation == "required" else uid):
        os.write(stderr, f"AOS_MCP_ISOLATION={isolation} cannot be had here\n".encode())
        return NOT_STARTED
    try:
        folders.make(spec, uid)
        if separate:
            walls.conceal(spec["home"], spec["hidden"])
    except OSError as error:
        os.write(stderr, f"{error.filename}: {error.strerror}; see AOS_MCP_HOME\n".encode())
        return NOT_STARTED
    child = _start(spec, (stdin, stdout, stderr), standing=standing, uid=uid)
    os.close(stdin)
    os.close(stdout)
    code = _wait(child, reader, limits=spec["limits"], stderr=stderr)
    _say_limit(code, spec["limits"], stderr)
    _end_all()
    folders.remove(spec)
    return code if code is not None else 128 + signal.SIGTERM


def _user_of_its_own(spec: dict[str, Any], *, isolation: str, separate: bool) -> int | None:
    """The user that the server becomes: only root can, and needs to where nothing else stands."""
    wanted = isolation == "user" or not (isolation == "off" or separate or walls.has_landlock())
    if sys.platform != "linux" or not wanted or os.geteuid() != 0 or spec["uid"] is None:
        return None
    uid = int(spec["uid"])
    return uid if isolation == "user" or _can_run(spec, uid) else None


def _can_run(spec: dict[str, Any], uid: int) -> bool:
    """Whether this user may start the program and enter its folder."""
    places = _places(spec)
    os.setgroups([])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        program = any(os.access(place, os.X_OK, effective_ids=True) for place in places)
        return program and os.access(spec["folder"] or "/", os.X_OK, effective_ids=True)
    finally:
        os.seteuid(0)
        os.setegid(0)


def _places(spec: dict[str, Any]) -> list[str]:
    """Where the program may lie."""
    path = str(spec["environment"].get("PATH", os.defpath))
    name = str(spec["command"][0])
    return [name] if "/" in name else [f"{part}/{name}" for part in path.split(os.pathsep)]


def _become(spec: dict[str, Any]) -> None:
    """Run the program in our place; `os.execvpe` imports what another user may not read."""
    problem = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for place in _places(spec):
        try:
            os.execve(place, spec["command"], spec["environment"])
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            problem = error
    raise problem


def _standing(isolation: str, *, separate: bool, uid: int | None) -> list[str]:
    """The walls that keep the server from other processes."""
    there = {
        "namespace": separate,
        "user": uid is not None,
        "landlock": isolation != "off" and walls.has_landlock(),
    }
    return [name for name, stands in there.items() if stands]


def _start(
    spec: dict[str, Any], pipes: tuple[int, int, int], *, standing: list[str], uid: int | None
) -> int:
    """Fork and become the server in the child."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        for target, source in enumerate(pipes):
            os.dup2(source, target)
        os.closerange(3, 256)
        if spec["folder"]:
            os.chdir(spec["folder"])
        counted = uid is not None or ("namespace" in standing and walls.counts_by_namespace())
        walls.limit(spec["limits"], count_processes=counted)
        if standing:
            walls.enclose(uid=uid)
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # behind the walls, which would take it away
        if os.getppid() != parent:
            os._exit(NOT_STARTED)
        _become(spec)
    except OSError as error:
        os.write(2, f"{spec['command']!r:.200}: {error.strerror}\n".encode())
    finally:
        os._exit(NOT_STARTED)


def _wait(child: int, wakeups: int, *, limits: dict[str, int], stderr: int) -> int | None:
    """The server's exit code, or None when the lifeline closed first."""
    looks = WATCH_SECONDS if sys.platform == "linux" else None
    while True:
        ready, _, _ = select.select([0, wakeups], [], [], looks)
        if not ready:
            pids = usage.children_of(os.getpid())
            problem = usage.excess(_descendants() if pids is None else pids, limits)
            if problem:
                os.write(stderr, f"ended by AOS: {problem}\n".encode())
                _signal(signal.SIGKILL)
                return 128 + signal.SIGKILL
        if wakeups in ready:
            if signal.SIGTERM in os.read(wakeups, 256):
                return None
            code = _reap(child)
            if code is not None:
                return code
        if 0 in ready and not os.read(0, 256):
            return None


def _say_limit(code: int | None, limits: dict[str, int], stderr: int) -> None:
    """Say in the server's error output that a file grew over its limit."""
    if code == 128 + signal.SIGXFSZ:
        most = limits["file"] // MIB
        os.write(stderr, f"ended: a file grew over the {most} MiB of AOS_MCP_FILE_MB\n".encode())


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
