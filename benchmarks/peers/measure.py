"""Measures AOS and its peers in alternating rounds. Entry point: `measure`."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import turns as turn_measures
from benchmarks.figures import median, percentile
from benchmarks.peers.sides import MCP_SERVER, WHOLE, Side, measure_idle, start_sides
from benchmarks.wire import Connection

TOOL_PATH = "/api/agents/bench-tools/run"
MODEL_SECONDS = 0.2
FEW, MANY = 8, 32
SETTLE_SECONDS = 1.0
"""The work after an answer (lists, usage) ends in this time; its processor time counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured."""

    rounds: int
    turns: int
    seconds: float
    idle_seconds: float
    warm_up: int


FULL = Effort(rounds=3, turns=150, seconds=8.0, idle_seconds=5.0, warm_up=40)
QUICK = Effort(rounds=1, turns=30, seconds=3.0, idle_seconds=2.0, warm_up=15)


@dataclass(slots=True)
class Found:
    """The figures of one side: one value a round."""

    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, name: str, value: float) -> None:
        """Add the value of a round."""
        self.values[name].append(value)

    def median(self, name: str) -> float:
        """Return the median of the rounds."""
        return median(self.values[name])


def measure(*, root: Path, python: Path, effort: Effort) -> dict[str, Found]:
    """Measure every side. The order of the sides is the same in each round."""
    found: dict[str, Found] = defaultdict(Found)
    with start_sides(root=root / "fast", delay=0, python=python, tool=True) as sides:
        _measure_fast(sides, found, effort)
    with start_sides(root=root / "slow", delay=MODEL_SECONDS, python=python, tool=False) as sides:
        _measure_slow(sides, found, effort)
    return dict(found)


def _measure_fast(sides: list[Side], found: dict[str, Found], effort: Effort) -> None:
    """Measure with a model that answers at once."""
    idle = {}
    for side in sides:
        asyncio.run(_warm_up(side, effort, (turn_measures.PATH, TOOL_PATH)))
        time.sleep(SETTLE_SECONDS)
        idle[side.name] = measure_idle(side, seconds=effort.idle_seconds)
        found[side.name].add("idle", 100 * sum(idle[side.name].values()))
    for _ in range(effort.rounds):
        for side in sides:
            _measure_one_client(side, found[side.name], effort, idle[side.name])
        for side in sides:
            _measure_clients(side, found[side.name], effort, clients=FEW)
        for side in sides:
            took = asyncio.run(_run_turns(side.url, TOOL_PATH, effort.turns // 2))
            found[side.name].add("tool p50", median(took))
    for side in sides:
        for group, used in side.read_megabytes().items():
            found[side.name].add(f"memory {group}", used)
        shared_once = side.read_shared_once()
        found[side.name].add("pss", sum(shared_once.get(it, 0.0) for it in WHOLE))


def _measure_slow(sides: list[Side], found: dict[str, Found], effort: Effort) -> None:
    """Measure with a model that takes its time."""
    for side in sides:
        asyncio.run(_warm_up(side, effort, (turn_measures.PATH,)))
    for _ in range(effort.rounds):
        for side in sides:
            _measure_clients(side, found[side.name], effort, clients=MANY)


async def _warm_up(side: Side, effort: Effort, paths: tuple[str, ...]) -> None:
    for path in paths:
        await _run_turns(side.url, path, 3)
    ends = time.perf_counter() + effort.seconds / 2
    count = 0
    async with Connection(side.url) as client:
        while count < effort.warm_up and time.perf_counter() < ends:
            await turn_measures.one(client)
            count += 1


async def _run_turns(url: str, path: str, count: int) -> list[float]:
    async with Connection(url) as client:
        return [(await turn_measures.one(client, path=path)).milliseconds for _ in range(count)]


def _measure_one_client(
    side: Side, found: Found, effort: Effort, idle: Mapping[str, float]
) -> None:
    began, before = time.perf_counter(), side.read_seconds()
    took = asyncio.run(_run_turns(side.url, turn_measures.PATH, effort.turns))
    time.sleep(SETTLE_SECONDS)
    seconds, after = time.perf_counter() - began, side.read_seconds()
    found.add("one p50", median(took))
    found.add("one p95", percentile(took, 0.95))
    total = 0.0
    for group, used in after.items():
        spent = used - before.get(group, used) - seconds * idle.get(group, 0)
        milliseconds = spent / effort.turns * 1000
        found.add(f"cpu {group}", milliseconds)
        total += 0 if group == MCP_SERVER else milliseconds
    found.add("cpu", total)


def _measure_clients(side: Side, found: Found, effort: Effort, *, clients: int) -> None:
    delay = MODEL_SECONDS * 1000 if clients == MANY else 0
    rate, took = asyncio.run(
        turn_measures.at_once(side.url, clients=clients, seconds=effort.seconds)
    )
    found.add(f"{clients} rate", rate)
    found.add(f"{clients} p95", percentile(took, 0.95) - delay)


def sum_memory(found: Found) -> float:
    """Return the megabytes of the whole tree, without MCP servers."""
    return sum(found.median(f"memory {it}") for it in WHOLE if f"memory {it}" in found.values)
