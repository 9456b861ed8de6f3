"""Starts an isolated MCP server and ends all of its processes. Entry point: `main`.

This file runs as its own process (`python -I -S guard.py`) with the standard library only. It first
enters its own user namespace and makes itself unreadable. Then it reads one JSON line from standard
input: the command, the environment, the folders and the limits of the server. So no secret appears
in the guard's own environment or arguments. It starts the server on the three file descriptors from
the app, writes to standard output which walls are active, and waits.

Standard input stays open as the lifeline. When the server ends or uses too much, or the lifeline
closes because the app closed it or died, the guard ends every process of the server: SIGTERM, then
SIGKILL. It exits with the server's exit code, with 128 + signal, or with 127 if the server could
not be started.
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

TYPE_CHECKING = False  # importing `typing` would cost each start of a server 5 ms
if TYPE_CHECKING:
    from typing import Any

    from aos.adapters.mcp import folders, usage, walls
else:  # isolated mode: neither this folder nor AOS is on the search path
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import folders
    import usage
    import walls

TERMINATE_SECONDS = 2.0
NOT_STARTED = 127
WATCH_SECONDS = 1.0
"""Seconds between two checks of what the server's processes use."""
MIB = 1024 * 1024
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Start the server, wait, end everything; return the exit code."""
    stdin, stdout, stderr = (int(number) for number in sys.argv[1:4])
    isolation = sys.argv[4]
    os.setsid()
    # processes that leave the group and lose their parent become children of the guard
    _call_prctl(PR_SET_CHILD_SUBREAPER, 1)
    separate = isolation in ("auto", "required") and walls.separate()
    walls.hide()
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return NOT_STARTED
    spec = json.loads(line)
    reader, writer = os.pipe()
    signal.set_wakeup_fd(_set_nonblocking(writer))
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    uid = _choose_user(spec, isolation=isolation, separate=separate)
    standing = _list_walls(isolation, separate=separate, uid=uid)
    os.write(1, (" ".join(standing) + "\n").encode())
    if isolation in ("required", "user") and not (standing if isolation == "required" else uid):
        os.write(
            stderr, f"AOS_MCP_ISOLATION={isolation} is not available on this machine\n".encode()
        )
        return NOT_STARTED
    try:
        folders.make(spec, uid)
        if separate:
            walls.conceal(spec["home"], spec["hidden"])
    except OSError as error:
        os.write(stderr, f"{error.filename}: {error.strerror}; check AOS_MCP_HOME\n".encode())
        return NOT_STARTED
    child = _start(spec, (stdin, stdout, stderr), standing=standing, uid=uid)
    os.close(stdin)
    os.close(stdout)
    code = _wait(child, reader, limits=spec["limits"], stderr=stderr)
    _say_limit(code, spec["limits"], stderr)
    _end_all()
    folders.remove(spec)
    return code if code is not None else 128 + signal.SIGTERM


def _choose_user(spec: dict[str, Any], *, isolation: str, separate: bool) -> int | None:
    """Choose the user that the server runs as; None means the guard's own user.

    Only root can start a process as another user. If `isolation` does not require that, root does
    so only if neither a namespace nor Landlock keeps the server from other processes.
    """
    wanted = isolation == "user" or not (isolation == "off" or separate or walls.has_landlock())
    if sys.platform != "linux" or not wanted or os.geteuid() != 0 or spec["uid"] is None:
        return None
    uid = int(spec["uid"])
    return uid if isolation == "user" or _can_run(spec, uid) else None


def _can_run(spec: dict[str, Any], uid: int) -> bool:
    """Whether this user may start the program and enter its folder."""
    places = _list_places(spec)
    os.setgroups([])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        program = any(os.access(place, os.X_OK, effective_ids=True) for place in places)
        return program and os.access(spec["folder"] or "/", os.X_OK, effective_ids=True)
    finally:
        os.seteuid(0)
        os.setegid(0)


def _list_places(spec: dict[str, Any]) -> list[str]:
    """List the folders that may contain the program."""
    path = str(spec["environment"].get("PATH", os.defpath))
    name = str(spec["command"][0])
    return [name] if "/" in name else [f"{part}/{name}" for part in path.split(os.pathsep)]


def _replace_process(spec: dict[str, Any]) -> None:
    """Replace this process by the program. `os.execvpe` would import files that another user cannot
    read."""
    problem = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for place in _list_places(spec):
        try:
            os.execve(place, spec["command"], spec["environment"])
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            problem = error
    raise problem


def _list_walls(isolation: str, *, separate: bool, uid: int | None) -> list[str]:
    """List the walls that keep the server from other processes."""
    there = {
        "namespace": separate,
        "user": uid is not None,
        "landlock": isolation != "off" and walls.has_landlock(),
    }
    return [name for name, stands in there.items() if stands]


def _start(
    spec: dict[str, Any], pipes: tuple[int, int, int], *, standing: list[str], uid: int | None
) -> int:
    """Fork; the child becomes the server."""
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
        counted = uid is not None or ("namespace" in standing and walls.is_counting_by_namespace())
        walls.limit(spec["limits"], count_processes=counted)
        if standing:
            walls.enclose(uid=uid)
        _call_prctl(
            PR_SET_PDEATHSIG, signal.SIGKILL
        )  # set it after the walls, which would reset it
        if os.getppid() != parent:
            os._exit(NOT_STARTED)
        _replace_process(spec)
    except OSError as error:
        os.write(2, f"{spec['command']!r:.200}: {error.strerror}\n".encode())
    finally:
        os._exit(NOT_STARTED)


def _wait(child: int, wakeups: int, *, limits: dict[str, int], stderr: int) -> int | None:
    """Return the server's exit code, or None if the lifeline closed first."""
    looks = WATCH_SECONDS if sys.platform == "linux" else None
    while True:
        ready, _, _ = select.select([0, wakeups], [], [], looks)
        if not ready:
            pids = usage.list_children(os.getpid())
            problem = usage.find_excess(_list_descendants() if pids is None else pids, limits)
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
    """Write to the server's error output that a file grew over its limit."""
    if code == 128 + signal.SIGXFSZ:
        most = limits["file"] // MIB
        os.write(stderr, f"ended: a file grew over the {most} MiB of AOS_MCP_FILE_MB\n".encode())


def _reap(wanted: int) -> int | None:
    """Collect all children that have ended; return the exit code of `wanted` if it is one of
    them."""
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
    """Ask all remaining processes to end, then kill those that do not."""
    ends = time.monotonic() + TERMINATE_SECONDS
    _signal(signal.SIGTERM)
    while _list_descendants() and time.monotonic() < ends:
        _reap(0)
        time.sleep(0.01)
    while _list_descendants():
        _signal(signal.SIGKILL)
        _reap(0)
        time.sleep(0.01)
        if time.monotonic() > ends + TERMINATE_SECONDS:
            return


def _signal(number: int) -> None:
    for pid in _list_descendants():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _list_descendants() -> list[int]:
    """List all living descendants of this process; without /proc, the members of its group."""
    me, parents = os.getpid(), {}
    try:
        numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except FileNotFoundError:
        return _list_children_by_ps(me)
    for pid in numbers:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
        except OSError:
            continue
        if state not in (b"Z", b"X"):
            parents[pid] = int(parent)
    return _list_below(me, parents)


def _list_children_by_ps(me: int) -> list[int]:
    """List the descendants on a system without /proc."""
    import subprocess

    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=False
    )
    rows = [line.split(None, 2) for line in listing.stdout.splitlines()]
    parents = {int(row[0]): int(row[1]) for row in rows if not row[2].startswith("Z")}
    return [pid for pid in _list_below(me, parents) if pid in parents]


def _list_below(root: int, parents: dict[int, int]) -> list[int]:
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


def _call_prctl(option: int, value: int) -> None:
    """Call Linux's prctl. On other systems only the lifeline protects."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _set_nonblocking(descriptor: int) -> int:
    os.set_blocking(descriptor, False)
    return descriptor


if __name__ == "__main__":
    # the exit code is the only result, so the interpreter's own shutdown is skipped
    code = main()
    os._exit(code)
