"""Prints AOS beside its peers, with ratios and goals. Entry point: `peers`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import parts
from benchmarks.account import run_turns, storage_latency, watched_laptop
from benchmarks.figures import Report
from benchmarks.peers.environment import prepare_environment
from benchmarks.peers.measure import FEW, FULL, MANY, QUICK, Found, measure, sum_memory
from benchmarks.peers.sides import AOS, AZURITE, BUS, DBOS, FLOOR, MCP_SERVER, OURS
from devhost.laptop import REPOSITORY


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a figure of AOS should be: as a ratio to DBOS, or in its own unit."""

    most_ratio: float | None = None
    least_ratio: float | None = None
    most: float | None = None

    def __str__(self) -> str:
        if self.most_ratio is not None:
            return f"<= {self.most_ratio} x"
        return f">= {self.least_ratio} x" if self.least_ratio is not None else f"<= {self.most}"

    def is_met(self, value: float, ratio: float | None) -> bool:
        """Whether the goal is met. `ratio` is that of AOS to DBOS."""
        if self.most is not None:
            return value <= self.most
        assert ratio is not None
        if self.most_ratio is not None:
            return ratio <= self.most_ratio
        assert self.least_ratio is not None
        return ratio >= self.least_ratio


ROWS: tuple[tuple[str, str, Goal | None], ...] = (
    ("one client, p50 ms", "one p50", Goal(most_ratio=1.1)),
    ("one client, p95 ms", "one p95", Goal(most_ratio=1.1)),
    ("processor time a turn, whole tree, ms", "cpu", Goal(most_ratio=1.6)),
    ("  ours", f"cpu {OURS}", Goal(most=14)),
    ("  Azurite", f"cpu {AZURITE}", None),
    ("  bus", f"cpu {BUS}", None),
    (f"{FEW} clients, turns/s", f"{FEW} rate", Goal(least_ratio=1.5)),
    (f"{FEW} clients, p95 ms", f"{FEW} p95", None),
    (f"{MANY} clients, 200 ms model, turns/s", f"{MANY} rate", Goal(least_ratio=2)),
    (f"{MANY} clients, 200 ms model, p95 less 200 ms", f"{MANY} p95", None),
    ("a tool turn, p50 ms", "tool p50", Goal(most_ratio=1.2)),
    ("memory, whole tree, MB", "memory", Goal(most=400)),
    ("  ours", f"memory {OURS}", None),
    ("  Azurite", f"memory {AZURITE}", None),
    ("  bus", f"memory {BUS}", None),
    ("the same, shared pages once (PSS), MB", "pss", None),
    ("  beside it: the tool's MCP server", f"memory {MCP_SERVER}", None),
    ("idle, % of a core (subtracted above)", "idle", None),
)


def peers(report: Report, root: Path, *, quick: bool, storage_ms: Sequence[float]) -> None:
    """Measure AOS, DBOS with pydantic-ai and the bare floor in one run, then AOS on storage that
    answers later."""
    report.head("AOS beside DBOS with pydantic-ai and a bare floor, a model that answers at once")
    python = prepare_environment(REPOSITORY, report.say)
    effort = QUICK if quick else FULL
    found = measure(root=root, python=python, effort=effort)
    for side in found.values():
        side.add("memory", sum_memory(side))
    report.say(
        f"  medians of {effort.rounds} round(s); load of the machine (1 min):"
        f" {os.getloadavg()[0]:.1f}"
    )
    say_table(report, found)
    with parts.instant_model() as model, watched_laptop(root / "storage", model) as watched:
        asyncio.run(run_turns(watched, effort.warm_up, settle=0.1))
        storage_latency(report, watched, delays=storage_ms, count=effort.turns // 3)


def say_table(report: Report, found: dict[str, Found]) -> None:
    """Print every row: the medians of each side, AOS over DBOS, and the goal."""
    report.say(f"  {'':<48} {AOS:>8} {DBOS:>8} {FLOOR:>8} {'AOS/DBOS':>9}  goal")
    for title, name, goal in ROWS:
        # what is below a title is a part of AOS, which the peers do not have
        others = () if title.startswith(" ") else (DBOS, FLOOR)
        values = {side: found[side].median(name) for side in (AOS, *others)}
        ratio = values[AOS] / values[DBOS] if values.get(DBOS) else None
        cells = " ".join(
            f"{values[side]:8.1f}" if side in values else " " * 8 for side in (AOS, DBOS, FLOOR)
        )
        times = f"{ratio:7.2f} x" if ratio is not None else " " * 9
        said = _judge(report, title.strip(), goal, values[AOS], ratio) if goal else ""
        report.say(f"  {title:<48} {cells} {times}  {said}".rstrip())


def _judge(report: Report, title: str, goal: Goal, value: float, ratio: float | None) -> str:
    if goal.is_met(value, ratio):
        return f"{goal}: yes"
    times = f" ({ratio:.2f} x)" if ratio is not None else ""
    report.missed.append(f"{title}: {value:.4g}{times}, wanted {goal}")
    return f"{goal}: NO"
