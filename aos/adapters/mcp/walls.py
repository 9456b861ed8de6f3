"""Keeps an MCP server's process from reading others. Entry points: `separate`, `conceal`,
`enclose`, `hide`.

It uses the standard library only and imports nothing of AOS, because the guard runs without
site-packages. Each wall is tried at run time. If the kernel refuses one, the function returns that
and changes nothing.
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
"""Allowed below `/`; without it, Landlock refuses to move files between folders."""
SCOPE_SIGNAL = 1 << 1
FIRST_WITH_REFER = 2
FIRST_WITH_SCOPES = 6

PROCESSES_BY_NAMESPACE = (5, 14)
"""The first kernel version that counts a namespace's processes apart from its user's."""


def hide() -> bool:
    """Make the environment and memory of this process unreadable for other processes of its user.

    A program that it starts is readable again until that calls this too. Root with CAP_SYS_PTRACE
    can still read everything.
    """
    return sys.platform == "linux" and _call_prctl(PR_SET_DUMPABLE, 0)


def separate() -> bool:
    """Move this process and its children into their own user namespace.

    The numbers of user and group do not change. Call it before the process knows a secret.
    """
    if sys.platform != "linux" or not _can_separate():
        return False
    if os.geteuid() == 0:
        os.setgroups([])
    _enter_namespace()
    return True


def conceal(home: str | None, files: Sequence[str]) -> None:
    """Hide these files and the neighbours of `home` from this process and its children.

    It works in a namespace of `separate`. If the kernel refuses it, nothing changes.
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
    """Whether `enclose` can use Landlock to keep the process from others."""
    return sys.platform == "linux" and _read_landlock_version() >= FIRST_WITH_REFER


def enclose(*, uid: int | None) -> None:
    """Give up all rights for good, just before another program replaces this process.

    `uid`: become this user, with only the group of the same number. Raises OSError.
    """
    if sys.platform != "linux":
        return
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
    _call_prctl(PR_SET_SECUREBITS, NO_ROOT_LOCKED)
    for number in range(CAPABILITIES):
        _call_prctl(PR_CAPBSET_DROP, number)
    if uid is not None:
        os.setresuid(uid, uid, uid)
    _call_prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    _call_prctl(PR_SET_NO_NEW_PRIVS, 1)
    _enter_landlock()
    _drop_capabilities()


def limit(limits: Mapping[str, int], *, count_processes: bool) -> None:
    """Limit what the process may use: `data`, `file`, `files` and `processes`; disable core dumps.

    Processes are counted by user or by namespace, so they are limited only if the server has its
    own.
    """
    if sys.platform != "linux":
        return
    import resource  # Windows has no such module, and the apps import this file

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


def is_counting_by_namespace() -> bool:
    """Whether this kernel counts the processes of a user namespace separately."""
    parts = os.uname().release.split(".")[:2]
    with contextlib.suppress(ValueError):
        return tuple(int(part) for part in parts) >= PROCESSES_BY_NAMESPACE
    return False


def _can_separate() -> bool:
    """Try it in a child, because a process whose user map cannot be written has no user and no way
    back."""
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


def _read_landlock_version() -> int:
    return _make_syscall(LANDLOCK_CREATE, None, 0, LANDLOCK_VERSION)


def _enter_landlock() -> None:
    """Forbid to trace, read or signal processes that are not descendants of this one."""
    version = _read_landlock_version()
    if version < FIRST_WITH_REFER:
        return
    scoped = version >= FIRST_WITH_SCOPES
    attributes = (
        struct.pack("QQQ", 0, 0, SCOPE_SIGNAL) if scoped else struct.pack("Q", ACCESS_REFER)
    )
    rules = _make_syscall(LANDLOCK_CREATE, attributes, len(attributes), 0)
    if rules < 0:
        return
    try:
        if not scoped:
            root = os.open("/", os.O_PATH | os.O_DIRECTORY)
            _make_syscall(
                LANDLOCK_ADD, rules, LANDLOCK_PATH, struct.pack("=Qi", ACCESS_REFER, root), 0
            )
            os.close(root)
        _make_syscall(LANDLOCK_RESTRICT, rules, 0)
    finally:
        os.close(rules)


def _drop_capabilities() -> None:
    header = struct.pack("Ii", CAPABILITY_VERSION, 0)
    ctypes.CDLL(None).capset(header, struct.pack("6I", *[0] * 6))


def _call_prctl(option: int, value: int) -> bool:
    arguments = [ctypes.c_ulong(number) for number in (value, 0, 0, 0)]
    return bool(ctypes.CDLL(None).prctl(option, *arguments) == 0)


def _make_syscall(number: int, *arguments: bytes | int | None) -> int:
    call = ctypes.CDLL(None).syscall
    call.restype = ctypes.c_long
    passed = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    return int(call(ctypes.c_long(number), *passed))
