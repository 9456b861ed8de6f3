"""Keeps an MCP server's process from reading others. Entry points: `separate`, `conceal`,
`enclose`, `hide`.

Standard library only and no import of AOS: the guard runs without site-packages. Each wall is
tried at run time. Where the kernel refuses one, the function says so and changes nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys
from collections.abc import Mapping, Sequence

PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CLONE_NEWUSER = 0x10000000
CLONE_NEWNS = 0x00020000
MS_BIND = 0x1000
MS_NOSUID_NODEV = 0x2 | 0x4
MNT_DETACH = 2
NO_ROOT_LOCKED = 0b11
"""SECBIT_NOROOT and its lock: a program that user 0 starts gets no capabilities."""
CAPABILITIES = 64
CAPABILITY_VERSION = 0x20080522

LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
LANDLOCK_VERSION = 1
LANDLOCK_PATH = 1
ACCESS_REFER = 1 << 13
"""Allowed below `/`: moves between folders are refused by a domain that does not name them."""
SCOPE_SIGNAL = 1 << 1
FIRST_WITH_REFER = 2
FIRST_WITH_SCOPES = 6

PROCESSES_BY_NAMESPACE = (5, 14)
"""The first kernel that counts a namespace's processes apart from its user's."""


def hide() -> bool:
    """Make this process's environment and memory unreadable for others of its user.

    A program that it starts is readable again until that calls this too. Root with CAP_SYS_PTRACE
    still reads everything.
    """
    return sys.platform == "linux" and _prctl(PR_SET_DUMPABLE, 0)


def separate() -> bool:
    """Move this process and all that it starts into a user namespace of its own.

    The numbers of user and group stay as they are. Call it before the process knows a secret.
    """
    if sys.platform != "linux" or not _would_separate():
        return False
    if os.geteuid() == 0:
        os.setgroups([])
    _enter_namespace()
    return True


def conceal(home: str | None, files: Sequence[str]) -> None:
    """Cover these files and what lies beside `home`, for this process and all that it starts.

    Works in a namespace of `separate`; where the kernel refuses it, everything stays as it is.
    """
    if ctypes.CDLL(None).unshare(CLONE_NEWNS) != 0:
        return
    for path in filter(os.path.isfile, files):
        _mount("/dev/null", path, None, MS_BIND)
    if home is None:
        return
    beside = os.path.dirname(home)
    kept = os.open(home, os.O_PATH | os.O_DIRECTORY)
    try:
        if _mount("none", beside, "tmpfs", MS_NOSUID_NODEV, "mode=755,size=64k"):
            os.mkdir(home, 0o700)
            if not _mount(f"/proc/self/fd/{kept}", home, None, MS_BIND):
                ctypes.CDLL(None).umount2(beside.encode(), MNT_DETACH)
    finally:
        os.close(kept)


def has_landlock() -> bool:
    """Whether `enclose` keeps the process from others by Landlock."""
    return sys.platform == "linux" and _landlock_version() >= FIRST_WITH_REFER


def enclose(*, uid: int | None) -> None:
    """Give up all rights for good, just before another program takes this process over.

    `uid`: become this user, in a group of the same number and no other. Raises OSError.
    """
    if sys.platform != "linux":
        return
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
    _prctl(PR_SET_SECUREBITS, NO_ROOT_LOCKED)
    for number in range(CAPABILITIES):
        _prctl(PR_CAPBSET_DROP, number)
    if uid is not None:
        os.setresuid(uid, uid, uid)
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _enter_landlock()
    _drop_capabilities()


def limit(limits: Mapping[str, int], *, count_processes: bool) -> None:
    """Bound what the process may use: `data`, `file`, `files` and `processes`; no core dumps.

    Processes are counted for the user or namespace, so only where the server has one of its own.
    """
    if sys.platform != "linux":
        return
    import resource  # Windows has none, and the apps import this module

    bounds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_DATA: limits["data"],
        resource.RLIMIT_FSIZE: limits["file"],
        resource.RLIMIT_NOFILE: limits["files"],
    }
    if count_processes:
        bounds[resource.RLIMIT_NPROC] = limits["processes"]
    for kind, most in bounds.items():
        hard = resource.getrlimit(kind)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, value))


def counts_by_namespace() -> bool:
    """Whether this kernel counts the processes of a user namespace by themselves."""
    parts = os.uname().release.split(".")[:2]
    with contextlib.suppress(ValueError):
        return tuple(int(part) for part in parts) >= PROCESSES_BY_NAMESPACE
    return False


def _would_separate() -> bool:
    """Try it in a child: a process whose map cannot be written has no user and no way back."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    try:
        _enter_namespace()
        os._exit(0)
    finally:
        os._exit(1)


def _enter_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    if ctypes.CDLL(None).unshare(CLONE_NEWUSER) != 0:
        raise OSError("no user namespace")
    for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1")):
        _write(f"/proc/self/{name}", line)
    _write("/proc/self/gid_map", f"{gid} {gid} 1")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> bool:
    known = None if kind is None else kind.encode()
    paths = (source.encode(), target.encode())
    return bool(
        ctypes.CDLL(None).mount(*paths, known, ctypes.c_ulong(flags), options.encode()) == 0
    )


def _write(path: str, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def _landlock_version() -> int:
    return _syscall(LANDLOCK_CREATE, None, 0, LANDLOCK_VERSION)


def _enter_landlock() -> None:
    """Forbid to trace, read or signal a process that did not come of this one."""
    version = _landlock_version()
    if version < FIRST_WITH_REFER:
        return
    scoped = version >= FIRST_WITH_SCOPES
    attributes = (
        struct.pack("QQQ", 0, 0, SCOPE_SIGNAL) if scoped else struct.pack("Q", ACCESS_REFER)
    )
    rules = _syscall(LANDLOCK_CREATE, attributes, len(attributes), 0)
    if rules < 0:
        return
    try:
        if not scoped:
            root = os.open("/", os.O_PATH | os.O_DIRECTORY)
            _syscall(LANDLOCK_ADD, rules, LANDLOCK_PATH, struct.pack("=Qi", ACCESS_REFER, root), 0)
            os.close(root)
        _syscall(LANDLOCK_RESTRICT, rules, 0)
    finally:
        os.close(rules)


def _drop_capabilities() -> None:
    header = struct.pack("Ii", CAPABILITY_VERSION, 0)
    ctypes.CDLL(None).capset(header, struct.pack("6I", *[0] * 6))


def _prctl(option: int, value: int) -> bool:
    arguments = [ctypes.c_ulong(number) for number in (value, 0, 0, 0)]
    return bool(ctypes.CDLL(None).prctl(option, *arguments) == 0)


def _syscall(number: int, *arguments: bytes | int | None) -> int:
    call = ctypes.CDLL(None).syscall
    call.restype = ctypes.c_long
    passed = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    return int(call(ctypes.c_long(number), *passed))
