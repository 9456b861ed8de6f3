"""Compares what an MCP server's processes use with its limits. Entry point: `find_excess`.

It uses the standard library only and imports nothing of AOS, because the guard runs without
site-packages.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

MIB = 1024 * 1024


def find_excess(pids: Sequence[int], limits: Mapping[str, int]) -> str | None:
    """Describe the limit that these processes exceed together, or return None."""
    if len(pids) > limits["processes"]:
        return f"it has {len(pids)} processes, over the {limits['processes']} of AOS_MCP_PROCESSES"
    used = sum(map(_read_memory, pids))
    if used > limits["memory"]:
        most = limits["memory"] // MIB
        return f"it uses {used // MIB} MiB of memory, over the {most} of AOS_MCP_MEMORY_MB"
    return None


def list_children(root: int) -> list[int] | None:
    """List all descendants of a process, or return None if the kernel keeps no lists of
    children."""
    found, seen = [], [root]
    while seen:
        pid = seen.pop()
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                    below = [int(number) for number in file.read().split()]
                found += below
                seen += below
        except OSError:
            if pid == root:
                return None
    return found


def _read_memory(pid: int) -> int:
    """Return the bytes that only this process uses."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            _, resident, shared = file.read().split()[:3]
    except OSError:
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
