"""Accounts for a turn: each storage call and bus message, when, and why. Entry points: `account`,
`storage_latency`.

The apps reach storage and bus through a proxy in this process, which records what passes and can
make each storage call wait, as storage in Azure does.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import parts
from benchmarks import turns as turn_measures
from benchmarks.budget import find_targets, make_proxy_settings
from benchmarks.figures import Report, median, percentile
from benchmarks.proxy import BUS
from benchmarks.recording import Call, RecordingProxy
from benchmarks.turn_reasons import REASONS, find_reason
from benchmarks.wire import Connection
from devhost.laptop import REPOSITORY, Laptop

APPS = ("main", "mcp", "realm")
FIRST, LATER = "the first turn of a conversation", "a later turn"
SETTLE_SECONDS = 2.8
"""From an answer to the next request: what follows the answer ends in it, batches too."""
WARM_UP = 10
IDLE_SECONDS = 16.0
"""More than the longest period of a timer on the laptop."""
LEAST_SHARE = 0.1
"""Calls that are rarer than in one of ten turns are left out."""
STORAGE_MS = (0.0, 2.0, 5.0, 10.0)
LOOK = ("main", "table read aosconversations/run")
"""After 250 ms main looks for the end that a waiting caller waits for: no call of a usual turn."""
LATENCY_ROUNDS = 5
"""The latencies take turns, so that a busy minute of the machine meets all of them."""
AZURE_MS = 10.0
MOST_ROUND_TRIPS = 4
MOST_OVERHEAD_MS = 60.0
PAGE = REPOSITORY / "docs" / "COST.md"
BEGIN, END = "<!-- account of a turn: begin -->", "<!-- account of a turn: end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn: what passed from its request to the next one. Times are seconds of the process."""

    began: float
    answered: float
    calls: Sequence[Call]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One call of a turn: medians in milliseconds after the caller's request."""

    app: str
    what: str
    share: float
    began: float
    ended: float | None
    when: str
    """`before` the answer, `after` it, or `beside` it."""


@dataclass(slots=True)
class Watched:
    """A laptop whose calls are recorded."""

    proxy: RecordingProxy
    laptop: Laptop

    @property
    def url(self) -> str:
        """The address of main."""
        return self.laptop.urls["main"]

    def name_ports(self) -> dict[int, str]:
        """Return the app of each port from which a connection goes out."""
        return {
            connection.laddr.port: app
            for app in APPS
            for connection in psutil.Process(self.laptop.child(app).pid).net_connections("tcp")
        }


@contextlib.contextmanager
def watched_laptop(root: Path, model: str) -> Iterator[Watched]:
    """Run a laptop behind the recording proxy."""
    with (
        Laptop(root=root / "parts", model_endpoint=model, apps=()) as infrastructure,
        RecordingProxy(find_targets(infrastructure)) as proxy,
        parts.laptop(
            root=root / "apps", model=model, settings=make_proxy_settings(proxy)
        ) as laptop,
    ):
        yield Watched(proxy, laptop)


def account(
    report: Report, root: Path, *, quick: bool, storage_ms: Sequence[float], write: bool
) -> None:
    """Print every call of a turn with its times and reason, then turns on slower storage."""
    count = 10 if quick else 20
    with parts.instant_model() as model, watched_laptop(root, model) as watched:
        asyncio.run(run_turns(watched, WARM_UP, settle=0.1))
        idle = _find_idle(watched)
        tables = {}
        for kind in (FIRST, LATER):
            turns = asyncio.run(run_turns(watched, count, later=kind == LATER))
            tables[kind] = make_lines(turns, watched.name_ports(), idle)
            _say_account(report, kind, tables[kind])
        made = {(line.app, line.what) for lines in tables.values() for line in lines}
        report.missed += [
            f"no turn makes the call of turn_reasons.py: {reason.app}, {reason.what}"
            for reason in REASONS
            if (reason.app, reason.what) not in made
        ]
        storage_latency(report, watched, delays=storage_ms, count=count)
    if write:
        PAGE.write_text(replace_table(PAGE.read_text("utf-8"), tables), "utf-8")


def storage_latency(
    report: Report, watched: Watched, *, delays: Sequence[float], count: int
) -> None:
    """Print a turn's overhead with storage that answers later, and its sequential round trips.

    How fast the overhead grows says how many round trips the caller waits for. The count of calls
    that do not overlap agrees with it on slow storage; on fast storage it is too high, because
    calls that nobody waits for end in time. What the proxy itself takes is measured first, and
    taken off its delay.
    """
    excess = 1000 * watched.proxy.measure_excess("table", AZURE_MS / 1000)
    for kind in (FIRST, LATER):
        report.head(f"A turn on slower storage: {kind} (the model answers at once)")
        found: dict[float, list[Turn]] = {delay: [] for delay in delays}
        for delay in [*delays] * LATENCY_ROUNDS:
            watched.proxy.delay = max(0.0, delay - excess) / 1000
            each = max(1, count // LATENCY_ROUNDS)
            found[delay] += asyncio.run(run_turns(watched, each, settle=0.2, later=kind == LATER))
        watched.proxy.delay = 0
        report.figure("the proxy's own time, taken off the delay", f"{excess:.1f} ms")
        _say_latency(report, found, excess)


def _say_latency(report: Report, found: Mapping[float, Sequence[Turn]], excess: float) -> None:
    medians = {}
    for delay, turns in found.items():
        took = [1000 * (turn.answered - turn.began) for turn in turns]
        medians[delay] = median(took)
        trips = median([count_round_trips(turn) for turn in turns])
        report.figure(
            f"{delay:g} ms more a storage call",
            f"p50 {medians[delay]:.1f} ms, p95 {percentile(took, 0.95):.1f} ms,"
            f" {trips:g} calls that do not overlap",
        )
    slowest, fastest = max(medians), min([d for d in medians if d >= excess] or medians)
    if slowest > fastest:
        slope = (medians[slowest] - medians[fastest]) / (slowest - fastest)
        most = MOST_ROUND_TRIPS + 0.5
        report.held("p50 grows with each ms of storage by", slope, most=most, unit="ms")
    if slowest >= AZURE_MS:
        name = f"overhead at {slowest:g} ms"
        report.held(name, medians[slowest], most=MOST_OVERHEAD_MS, unit="ms")


async def run_turns(
    watched: Watched, count: int, *, settle: float = SETTLE_SECONDS, later: bool = False
) -> list[Turn]:
    """Run turns one after the other; the first two turns of a conversation are not `later` ones."""
    conversation_id = f"account-{uuid.uuid4().hex[:8]}" if later else None
    calls = watched.proxy.calls
    turns = []
    async with Connection(watched.url) as client:
        for _ in range(count + 2 if later else count):
            start, began = len(calls), time.perf_counter()
            await turn_measures.one(client, conversation_id=conversation_id)
            answered = time.perf_counter()
            await asyncio.sleep(settle)
            turns.append(Turn(began=began, answered=answered, calls=calls[start:]))
    return turns[2:] if later else turns


def _find_idle(watched: Watched) -> set[tuple[str, str]]:
    """Return the calls that the apps make while nobody asks them anything."""
    time.sleep(SETTLE_SECONDS)
    start = len(watched.proxy.calls)
    time.sleep(IDLE_SECONDS)
    ports = watched.name_ports()
    return {_name(call, ports) for call in watched.proxy.calls[start:]}


def make_lines(
    turns: Sequence[Turn], ports: Mapping[int, str], idle: Collection[tuple[str, str]]
) -> list[Line]:
    """Return the calls of a turn in the order in which they begin.

    What an idle laptop does too is left out, unless a reason says that turns do it.
    """
    found: dict[tuple[str, str], list[tuple[Turn, Call]]] = defaultdict(list)
    for turn in turns:
        for call in turn.calls:
            found[_name(call, ports)].append((turn, call))
    lines = []
    for (app, what), pairs in found.items():
        share = len(pairs) / len(turns)
        is_of_a_timer = (app, what) in idle and find_reason(app, what) is None
        if share < LEAST_SHARE or is_of_a_timer or (app, what) == LOOK:
            continue
        began = median([1000 * (call.began - turn.began) for turn, call in pairs])
        ends = [1000 * (call.ended - turn.began) for turn, call in pairs if call.ended]
        when = Counter(_place(turn, call) for turn, call in pairs).most_common(1)[0][0]
        lines.append(
            Line(
                app=app,
                what=what,
                share=share,
                began=began,
                ended=median(ends) if ends else None,
                when=when,
            )
        )
    return sorted(lines, key=lambda line: line.began)


def count_round_trips(turn: Turn) -> int:
    """Return how many storage calls before the answer came one after the other, at least: the most
    of them that do not overlap."""
    count, free = 0, turn.began
    done = [call for call in turn.calls if call.ended is not None and call.service != BUS]
    for call in sorted(done, key=lambda call: call.ended or 0):
        if call.began >= free and call.ended is not None and call.ended <= turn.answered:
            count, free = count + 1, call.ended
    return count


def _name(call: Call, ports: Mapping[int, str]) -> tuple[str, str]:
    return ports.get(call.client_port, "?"), f"{call.service} {call.what}"


def _place(turn: Turn, call: Call) -> str:
    if call.began > turn.answered:
        return "after"
    return "before" if call.ended is not None and call.ended <= turn.answered else "beside"


def _say_account(report: Report, kind: str, lines: Sequence[Line]) -> None:
    report.head(f"The account of a turn: {kind} (ms after the request; the share of turns)")
    for line in lines:
        reason = find_reason(line.app, line.what)
        ended = f"{line.ended:6.1f}" if line.ended is not None else "     -"
        times = f"{line.began:6.1f} {ended} {line.when:<6} {line.share:4.2f}"
        report.say(f"  {times} {line.app:<5} {line.what}")
        if reason is None:
            report.missed.append(
                f"no reason in benchmarks/turn_reasons.py: {line.app}, {line.what}"
            )
        else:
            report.say(f"{'':<34}{reason.why}")
    storage = sum(line.share for line in lines if not line.what.startswith(BUS))
    before = sum(1 for line in lines if line.when != "after" and not line.what.startswith(BUS))
    messages = sum(line.share for line in lines if line.what.startswith(BUS))
    report.figure("storage calls, bus messages", f"{storage:.2f}, {messages:.2f}")
    report.figure("kinds of storage calls that begin before the answer", f"{before}")


def replace_table(page: str, tables: dict[str, list[Line]]) -> str:
    """Return the page of costs with the measured times of every call."""
    times: dict[tuple[str, str], list[str]] = {}
    for column, kind in enumerate((FIRST, LATER)):
        for line in tables[kind]:
            cells = times.setdefault((line.app, line.what), ["-", "-"])
            ended = f" to {line.ended:.0f}" if line.ended is not None else ""
            cells[column] = f"{line.when}, {line.began:.0f}{ended}"
    rows = []
    for reason in REASONS:
        first, later = times.get((reason.app, reason.what), ["-", "-"])
        cells = (reason.app, f"`{reason.what}`", first, later, reason.why, reason.instead)
        rows.append(f"| {' | '.join(cells)} |")
    head = (
        "| app | call | first turn | later turn | why | what else could carry it |\n"
        "|---|---|---|---|---|---|"
    )
    table = "\n".join([BEGIN, head, *rows, END])
    return re.sub(f"{BEGIN}.*{END}", lambda found: table, page, flags=re.DOTALL)
