"""Measures what it costs to watch a run, and how soon readers get its text. Entry points:
`streams`, which prints the figures, and the `measure_` functions."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from aos.domain.runs.watching import BATCH_SECONDS, count_batch_seconds
from benchmarks import parts
from benchmarks.event_reader import Told, open_without_reading, read_events
from benchmarks.figures import Report, median, percentile
from benchmarks.processor_time import read_processor_time
from benchmarks.streaming_model import Plan, read_token
from benchmarks.turns import PATH
from benchmarks.wire import Connection
from devhost.laptop import Laptop

OURS = ("main", "mcp", "realm", "servicebus")
MEGABYTE = 1024 * 1024
BATCH_MILLISECONDS = 1000 * BATCH_SECONDS
USUAL = Plan()
"""60 tokens in 1.5 s, the first after 0.3 s."""
LONG = Plan(pause=0.05, tokens=100)
"""100 tokens in 5.3 s."""
WIDE = Plan(first=0.5, pause=0.01, tokens=240, letters=1000)
"""240 KB in 2.9 s, nearly as much as a turn may stream."""
READERS = 200
DEAF_READERS = 20
DEAF_SECONDS = 90.0
"""Main gives a client a minute for one piece; then it lets go."""
WARM_UP = 5
TIMERS = {
    "AOS_CATALOG_TIMER_SECONDS": "300",
    "AOS_CLEAN_TIMER_SECONDS": "3600",
    "AOS_LISTING_TIMER_SECONDS": "300",
    "AOS_MENDER_TIMER_SECONDS": "30",
    "AOS_WAKE_TIMER_SECONDS": "60",
}
"""As in Azure. The laptop's timers tick every 5 s, and one tick takes as much as some turns."""
SAMPLE_SECONDS = 0.05


@dataclass(slots=True)
class Lags:
    """Milliseconds: of each run's first token, between deltas, how much more that is than the time
    of a batch, and of each token."""

    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)

    def add(self, told: list[Told]) -> None:
        """Add the deltas of one run.

        The last two gaps are left out: the rest of a text comes with its end, before it is due.
        """
        deltas = [event for event in told if event.type == "message.delta"]
        ages = [
            [(event.at - read_token(token)) * 1000 for token in event.data["text"].split()]
            for event in deltas
        ]
        self.first.append(ages[0][0])
        self.tokens += [age for event in ages for age in event]
        for before, after in itertools.pairwise(deltas[:-1]):
            part = int(before.id.rpartition(".")[2])
            self.between.append((after.at - before.at) * 1000)
            self.late.append(self.between[-1] - count_batch_seconds(part) * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Milliseconds of processor time a turn, by process, without what idle apps take."""

    unwatched: dict[str, float]
    watched: dict[str, float]

    @property
    def ratio(self) -> float:
        """Return how much more a watched turn takes."""
        return sum(self.watched.values()) / sum(self.unwatched.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """What many readers of one run got, and what main took for it."""

    complete: int
    spread_milliseconds: float
    slowest_first_milliseconds: float
    before: float
    peak: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Deaf:
    """What readers took that never read. `seconds`: until main had let them all go."""

    before: float
    peak: float
    after: float
    seconds: float


async def measure_lags(url: str, plan: Plan, *, runs: int) -> Lags:
    """Read runs one after the other, each as it is streamed by the request that starts it."""
    found = Lags()
    for _ in range(runs):
        body = {"message": plan.to_message()}
        found.add([event async for event in read_events(url, PATH, body=body)])
    return found


async def measure_costs(laptop: Laptop, plan: Plan, *, rounds: int, each: int) -> Costs:
    """Alternate blocks of idle time, of unwatched and of watched turns, all of the same length."""
    url = laptop.urls["main"]
    processes = {name: psutil.Process(laptop.child(name).pid) for name in OURS}
    spent: dict[str, list[dict[str, float]]] = {"unwatched": [], "watched": []}
    works = {"unwatched": _run_unwatched, "watched": _run_watched}
    for _ in range(rounds):
        before, began = _read_times(processes), time.monotonic()
        await asyncio.sleep(each * plan.seconds)
        idle = _divide(_subtract(_read_times(processes), before), time.monotonic() - began)
        for name, work in works.items():
            before, began = _read_times(processes), time.monotonic()
            for _ in range(each):
                await work(url, plan)
            await asyncio.sleep(1.0)  # what follows the end
            took = _subtract(_read_times(processes), before)
            seconds = time.monotonic() - began
            alone = {name: took[name] - idle[name] * seconds for name in took}
            spent[name].append(_divide(alone, each))
    return Costs(
        unwatched=_take_medians(spent["unwatched"]), watched=_take_medians(spent["watched"])
    )


async def measure_crowd(laptop: Laptop, plan: Plan, *, readers: int) -> Crowd:
    """Let many readers follow one run, each on a connection of its own."""
    url = laptop.urls["main"]
    with _watch_memory(laptop.child("main").pid) as memory:
        before = memory()
        path = await _start_run(url, plan)
        told = await asyncio.gather(*(_read_all(url, path) for _ in range(readers)))
        peak = memory()
        await asyncio.sleep(2.0)
    whole = [event.id async for event in read_events(url, path)]
    ends = [events[-1].at for events in told]
    firsts = Lags()
    for events in told:
        firsts.add(events)
    return Crowd(
        complete=sum([event.id for event in events] == whole for events in told),
        spread_milliseconds=(max(ends) - min(ends)) * 1000,
        slowest_first_milliseconds=max(firsts.first),
        before=before,
        peak=peak,
        after=_read_memory(laptop.child("main").pid),
    )


async def measure_deaf(laptop: Laptop, plan: Plan, *, readers: int) -> Deaf:
    """Let readers that never read follow one run, until main has closed their connections."""
    url, pid = laptop.urls["main"], laptop.child("main").pid
    await _run_watched(url, plan)
    with _watch_memory(pid) as memory:
        before = memory()
        path = await _start_run(url, plan)
        sockets = [await open_without_reading(url, path) for _ in range(readers)]
        ports = {connection.getsockname()[1] for connection in sockets}
        began = time.monotonic()
        try:
            await _until(lambda: _count_held(pid, ports) == readers)
            await _until(lambda: not _count_held(pid, ports))
            seconds = time.monotonic() - began
        finally:
            for connection in sockets:
                connection.close()
        peak = memory()
    return Deaf(before=before, peak=peak, after=_read_memory(pid), seconds=seconds)


def streams(report: Report, root: Path) -> None:
    """Measure streams of run events."""
    report.head("A run that somebody watches")
    load = os.getloadavg()[0]
    report.figure("load of the machine before", f"{load:.1f}")
    with (
        parts.paced_model() as model,
        parts.laptop(root=root / "aos", model=model, settings=TIMERS) as laptop,
    ):
        url = laptop.urls["main"]
        asyncio.run(measure_lags(url, USUAL, runs=WARM_UP))
        _say_lags(report, asyncio.run(measure_lags(url, USUAL, runs=20)))
        _say_costs(report, "1.5 s", asyncio.run(measure_costs(laptop, USUAL, rounds=6, each=8)))
        _say_costs(report, "5.3 s", asyncio.run(measure_costs(laptop, LONG, rounds=4, each=4)))
        _say_crowd(report, asyncio.run(measure_crowd(laptop, LONG, readers=READERS)))
        _say_deaf(report, asyncio.run(measure_deaf(laptop, WIDE, readers=DEAF_READERS)))


def _say_lags(report: Report, lags: Lags) -> None:
    report.figure("first token at the reader, p50", f"{median(lags.first):.0f} ms")
    report.held("first token at the reader, p95", percentile(lags.first, 0.95), most=150, unit="ms")
    report.figure(
        "between deltas, p50 / p95",
        f"{median(lags.between):.0f} / {percentile(lags.between, 0.95):.0f} ms",
    )
    report.held(
        "more than the time of a batch, p50",
        median(lags.late),
        most=0.05 * BATCH_MILLISECONDS,
        unit="ms",
    )
    report.held(
        "more than the time of a batch, p95",
        percentile(lags.late, 0.95),
        most=0.5 * BATCH_MILLISECONDS,
        unit="ms",
    )
    report.figure(
        "any token at the reader, p50 / p95",
        f"{median(lags.tokens):.0f} / {percentile(lags.tokens, 0.95):.0f} ms",
    )


def _say_costs(report: Report, name: str, costs: Costs) -> None:
    for side, spent in (("unwatched", costs.unwatched), ("watched", costs.watched)):
        by_app = ", ".join(f"{app} {seconds * 1000:.1f}" for app, seconds in spent.items())
        total = sum(spent.values()) * 1000
        report.figure(f"processor time of a turn of {name}, {side}", f"{total:.1f} ms ({by_app})")
    report.held(f"watched over unwatched, {name}", costs.ratio, most=1.5, unit="times")


def _say_crowd(report: Report, crowd: Crowd) -> None:
    report.reached(
        f"of {READERS} readers got every id once", crowd.complete, least=READERS, unit="readers"
    )
    report.figure("first token, the slowest reader", f"{crowd.slowest_first_milliseconds:.0f} ms")
    report.held(
        "the end, the slowest after the first reader",
        crowd.spread_milliseconds,
        most=2000,
        unit="ms",
    )
    report.figure("memory of main, before / after", f"{crowd.before:.0f} / {crowd.after:.0f} MB")
    report.held("memory of main, at most more", crowd.peak - crowd.before, most=60, unit="MB")


def _say_deaf(report: Report, deaf: Deaf) -> None:
    report.figure("memory of main, before / after", f"{deaf.before:.0f} / {deaf.after:.0f} MB")
    report.held(
        f"{DEAF_READERS} readers that never read, memory of main",
        deaf.peak - deaf.before,
        most=30,
        unit="MB",
    )
    report.held("until main has let them go", deaf.seconds, most=75, unit="s")


async def _run_watched(url: str, plan: Plan) -> None:
    body = {"message": plan.to_message()}
    _ = [event.id async for event in read_events(url, PATH, body=body)]


async def _run_unwatched(url: str, plan: Plan) -> None:
    async with Connection(url) as client:
        run = await client.post(PATH, {"message": plan.to_message()})
    if run["status"] != "completed":
        raise RuntimeError(f"the run ended {run['status']}: {run.get('error')}")


async def _start_run(url: str, plan: Plan) -> str:
    """Start a watched run; return the path of its events."""
    async with Connection(url) as client:
        body: dict[str, Any] = {"message": plan.to_message(), "stream": True, "wait_seconds": 0}
        run = await client.post(PATH, body, expect=202)
    return f"/api/runs/{run['run_id']}/events"


async def _read_all(url: str, path: str) -> list[Told]:
    return [event async for event in read_events(url, path)]


async def _until(holds: Callable[[], bool]) -> None:
    """Wait until the condition holds, at most DEAF_SECONDS."""
    ends = time.monotonic() + DEAF_SECONDS
    while not holds():
        if time.monotonic() > ends:
            return
        await asyncio.sleep(0.1)


def _read_times(processes: dict[str, psutil.Process]) -> dict[str, float]:
    return {name: read_processor_time(process.pid) for name, process in processes.items()}


def _subtract(after: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    return {name: after[name] - before[name] for name in after}


def _divide(spent: dict[str, float], by: float) -> dict[str, float]:
    return {name: seconds / by for name, seconds in spent.items()}


def _take_medians(blocks: list[dict[str, float]]) -> dict[str, float]:
    return {name: median([block[name] for block in blocks]) for name in blocks[0]}


def _read_memory(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / MEGABYTE


@contextlib.contextmanager
def _watch_memory(pid: int) -> Iterator[Callable[[], float]]:
    """Yield a function that returns the most megabytes that the process has had so far."""
    most = _read_memory(pid)

    async def sample() -> None:
        nonlocal most
        while True:
            most = max(most, _read_memory(pid))
            await asyncio.sleep(SAMPLE_SECONDS)

    sampling = asyncio.ensure_future(sample())
    try:
        yield lambda: most
    finally:
        sampling.cancel()


def _count_held(pid: int, ports: set[int]) -> int:
    """Return how many connections from these ports the process still holds."""
    held = psutil.Process(pid).net_connections("tcp4")
    return sum(bool(one.raddr) and one.raddr.port in ports for one in held)
