"""Compares what an MCP server's processes use with its limits. Entry point: `excess`.

Standard library only and no import of AOS: the guard runs without site-packages.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

MIB = 1024 * 1024


def excess(pids: Sequence[int], limits: Mapping[str, int]) -> str | None:
    """Which limit these processes are over, taken together; None if none."""
    if len(pids) > limits["processes"]:
        return f"it has {len(pids)} processes, over the {limits['processes']} of AOS_MCP_PROCESSES"
    used = sum(map(_memory, pids))
    if used > limits["memory"]:
        most = limits["memory"] // MIB
        return f"it uses {used // MIB} MiB of memory, over the {most} of AOS_MCP_MEMORY_MB"
    return None


def children_of(root: int) -> list[int] | None:
    """Every process below this one; None where the kernel keeps no lists of children."""
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


def _memory(pid: int) -> int:
    """The bytes that are this process's alone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            _, resident, shared = file.read().split()[:3]
    except OSError:
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
