"""Starts AOS and its peers, and reads what their processes use. Entry points: `start_sides`,
`Side`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import parts
from devhost.laptop import Laptop

AOS, DBOS, FLOOR = "AOS", "DBOS", "floor"
APPS = ("main", "mcp", "realm")
OURS, AZURITE, BUS, MCP_SERVER = "ours", "Azurite", "bus", "MCP server"
WHOLE = (OURS, AZURITE, BUS)
"""What counts as the tree of AOS. The MCP server is not included: the peers' tool has no process of
its own."""
MEGABYTE = 1024 * 1024

Processes = Mapping[str, list[psutil.Process]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the servers that are compared: where it answers, and its processes by group."""

    name: str
    url: str
    find_processes: Callable[[], Processes]

    def read_seconds(self) -> dict[str, float]:
        """Return the processor time so far, by group."""
        return self._sum(lambda process: sum(process.cpu_times()[:2]))

    def read_megabytes(self) -> dict[str, float]:
        """Return the resident memory, by group."""
        return self._sum(lambda process: process.memory_info().rss / MEGABYTE)

    def read_shared_once(self) -> dict[str, float]:
        """Return the same, where a page of several processes counts once (PSS)."""
        return self._sum(lambda process: process.memory_full_info().pss / MEGABYTE)

    def _sum(self, read: Callable[[psutil.Process], float]) -> dict[str, float]:
        found = {}
        for group, processes in self.find_processes().items():
            found[group] = 0.0
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    found[group] += read(process)
        return found


@contextlib.contextmanager
def start_sides(*, root: Path, delay: float, python: Path, tool: bool) -> Iterator[list[Side]]:
    """Run AOS, DBOS and the floor on one model that answers after `delay` seconds.

    `python` has the peers' packages. With `tool`, AOS has the agent `bench-tools` too.
    """
    with (
        parts.instant_model(delay=delay) as model,
        parts.laptop(root=root / "aos", model=model) as laptop,
        parts.printing_its_port(
            "benchmarks.peers.dbos_server",
            *("--model", model, "--data", str(root / "dbos")),
            python=python,
        ) as dbos,
        parts.printing_its_port("benchmarks.peers.floor_server", "--model", model) as floor,
    ):
        if tool:
            parts.put_agent_with_a_tool(laptop.urls["main"])
        aos = Side(
            name=AOS, url=laptop.urls["main"], find_processes=lambda: _find_processes(laptop)
        )
        yield [aos, _make_peer(DBOS, dbos), _make_peer(FLOOR, floor)]


def _make_peer(name: str, server: parts.Server) -> Side:
    process = psutil.Process(server.pid)
    return Side(
        name=name,
        url=f"http://127.0.0.1:{server.port}",
        find_processes=lambda: {OURS: [process, *process.children(recursive=True)]},
    )


def _find_processes(laptop: Laptop) -> Processes:
    tree = {
        name: psutil.Process(laptop.child(name).pid) for name in (*APPS, "azurite", "servicebus")
    }
    below = {name: process.children(recursive=True) for name, process in tree.items()}
    return {
        OURS: [tree[app] for app in APPS] + below["main"] + below["realm"],
        AZURITE: [tree["azurite"], *below["azurite"]],
        BUS: [tree["servicebus"], *below["servicebus"]],
        MCP_SERVER: below["mcp"],
    }


def measure_idle(side: Side, *, seconds: float) -> dict[str, float]:
    """Return the processor seconds that each group uses in a second without requests."""
    before = side.read_seconds()
    time.sleep(seconds)
    after = side.read_seconds()
    return {group: (used - before.get(group, used)) / seconds for group, used in after.items()}
