"""Measures whether what has grown costs more: in one conversation, in many, and for the mender.
Entry points: `long`, `many`, `pending`."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
import urllib.request
import uuid
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from azure.data.tables import TableServiceClient

from aos.adapters.memory import ManualClock, MemoryTables, MemoryTelemetry, SeededIds
from aos.adapters.memory.blobs import MemoryBlobStore
from aos.adapters.memory.broker import MemoryBroker
from aos.adapters.system import SystemClock
from aos.services.mender import Mender
from aos.settings import Settings
from aos.testing import ScriptedModel
from aos.testing.adapters import make_world
from aos.wiring.main_services import MainServices
from benchmarks import parts
from benchmarks import turns as turn_measures
from benchmarks.budget import find_targets, make_proxy_settings
from benchmarks.counting import CountingProxy
from benchmarks.figures import Report, median
from benchmarks.grown_state import GrownState
from benchmarks.wire import Connection
from devhost.laptop import Laptop
from devhost.settings import STORAGE

MESSAGES = 10_000
CONVERSATIONS = 10_000
FEW = 100
CLIENTS = 8
ROUNDS = 6
ROUND_SECONDS = 6.0
MEGABYTE = 1024 * 1024
DELETE_SECONDS = 600.0
NO_MODEL = "http://127.0.0.1:9/v1"


def long(report: Report, root: Path) -> None:
    """Measure turns on a long conversation, and its deletion."""
    with parts.instant_model() as model, parts.laptop(root=root / "aos", model=model) as laptop:
        asyncio.run(_measure_long(report, laptop))


def many(report: Report, root: Path) -> None:
    """Measure turns spread over many conversations."""
    with parts.instant_model() as model, parts.laptop(root=root / "aos", model=model) as laptop:
        asyncio.run(_measure_many(report, laptop))


def pending(report: Report, root: Path) -> None:
    """Count the calls of the mender's ticks with few and with many conversations."""
    with Laptop(root=root / "aos", apps=(), model_endpoint=NO_MODEL) as laptop:
        asyncio.run(_measure_mender(report, laptop))


async def _begin(laptop: Laptop) -> tuple[GrownState, str]:
    """The stores, with a run to copy; and the name of its conversation."""
    name = f"first-{uuid.uuid4().hex[:8]}"
    async with Connection(laptop.urls["main"]) as client:
        turn = await turn_measures.one(client, conversation_id=name)
    state = GrownState(laptop.storage_connection_string)
    await state.copy_from(name, turn.run["run_id"])
    return state, name


# a long conversation


async def _measure_long(report: Report, laptop: Laptop) -> None:
    url = laptop.urls["main"]
    report.head(f"A turn with {MESSAGES:,} messages of history, beside one with 10")
    state, long = await _begin(laptop)
    short = await turn_measures.grown(url, messages=10)
    await state.lengthen(long, messages=MESSAGES)
    await state.close()
    lengths = {10: short, MESSAGES: long}
    await turn_measures.by_history(url, lengths, each=5)
    found = await turn_measures.by_history(url, lengths, each=40)
    ten, many = median(found[10]), median(found[MESSAGES])
    report.figure(f"10 messages / {MESSAGES:,} messages, p50", f"{ten:.1f} / {many:.1f} ms")
    report.held(f"{MESSAGES:,} messages over 10", many / ten, most=1.3, unit="times")
    report.head(f"Deleting a conversation of {MESSAGES:,} messages")
    small = await asyncio.to_thread(_delete, laptop, short)
    large = await asyncio.to_thread(_delete, laptop, long)
    report.figure("10 messages, seconds", f"{small.seconds:.1f}")
    report.figure(f"{large.rows:,} rows, seconds", f"{large.seconds:.1f}")
    report.figure("rows left of it", f"{large.left}: {', '.join(large.names)}")
    report.held("realm's memory grows by", large.megabytes, most=32, unit="MB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """What a deletion took: rows before, rows after, seconds, growth of realm's memory."""

    rows: int
    left: int
    names: list[str]
    seconds: float
    megabytes: float


def _delete(laptop: Laptop, conversation_id: str) -> Deleted:
    """Delete over HTTP and follow realm's memory until only the head is left."""
    before = _list_rows(laptop, conversation_id)
    process = psutil.Process(laptop.child("realm").pid)
    began, base = time.monotonic(), process.memory_info().rss
    peak = _Peak(process)
    url = f"{laptop.urls['main']}/api/conversations/{conversation_id}"
    with peak, urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=60):
        while True:
            left = _list_rows(laptop, conversation_id)
            # scrubbed rows of runs stay for 30 days, without content
            if not any(name.startswith(("msg:", "event:", "events:")) for name in left):
                break
            if time.monotonic() - began > DELETE_SECONDS:
                break
            time.sleep(2)
    return Deleted(
        rows=len(before),
        left=len(left),
        names=[f"{n} {kind}" for kind, n in Counter(n.split(":")[0] for n in left).items()],
        seconds=time.monotonic() - began,
        megabytes=(peak.bytes - base) / MEGABYTE,
    )


class _Peak:
    """Follows the resident memory of a process in a thread."""

    def __init__(self, process: psutil.Process) -> None:
        self.bytes = 0
        self._process = process
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *about: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stopping.wait(0.05):
            self.bytes = max(self.bytes, self._process.memory_info().rss)


def _list_rows(laptop: Laptop, conversation_id: str) -> list[str]:
    account = laptop.storage_connection_string
    with TableServiceClient.from_connection_string(account) as service:
        table = service.get_table_client("aosconversations")
        rows = table.query_entities(f"PartitionKey eq '{conversation_id}'", select=["RowKey"])
        return [row["RowKey"] for row in rows]


# many conversations


async def _measure_many(report: Report, laptop: Laptop) -> None:
    report.head(f"Turns a second over {CONVERSATIONS:,} conversations, beside {FEW}")
    state, _ = await _begin(laptop)
    mark = uuid.uuid4().hex[:6]
    names = [f"many-{mark}-{number}" for number in range(CONVERSATIONS)]
    await state.spread(names)
    await state.close()
    few = [f"few-{mark}-{number}" for number in range(FEW)]
    state, _ = await _begin(laptop)
    await state.spread(few)
    await state.close()
    sets = {FEW: few, CONVERSATIONS: names}
    url = laptop.urls["main"]
    for names_of in sets.values():
        await _count_turns(url, names_of, seconds=2)
    rates: dict[int, list[float]] = {size: [] for size in sets}
    for _, (size, names_of) in itertools.product(range(ROUNDS), sets.items()):
        rates[size].append(await _count_turns(url, names_of, seconds=ROUND_SECONDS))
    base, grown = median(rates[FEW]), median(rates[CONVERSATIONS])
    report.figure(f"{FEW} / {CONVERSATIONS:,} conversations", f"{base:.1f} / {grown:.1f} turns/s")
    report.reached("throughput beside it", grown / base, least=0.8, unit="times")


async def _count_turns(url: str, names: list[str], *, seconds: float) -> float:
    """Turns a second of clients that ask in conversations chosen at random."""
    order = random.Random(7).sample(names, len(names))
    chosen = itertools.cycle(order)
    ends = time.perf_counter() + seconds
    done = 0

    async def work() -> None:
        nonlocal done
        async with Connection(url) as client:
            while time.perf_counter() < ends:
                await turn_measures.one(client, conversation_id=next(chosen))
                done += 1

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CLIENTS)))
    return done / (time.perf_counter() - began)


# the mender


async def _measure_mender(report: Report, laptop: Laptop) -> None:
    report.head("Storage calls of one tick of the mender")
    with CountingProxy(find_targets(laptop)) as proxy:
        state = GrownState(make_proxy_settings(proxy)[STORAGE])
        state.copy_sample()
        mender = _make_mender(state)
        await mender.mend()
        found: dict[tuple[int, int], int] = {}
        for known, more in ((FEW, FEW), (CONVERSATIONS, CONVERSATIONS - FEW)):
            await state.spread([f"known-{known}-{number}" for number in range(more)])
            for owed in (0, 20, 40):
                found[known, owed] = await _count_tick(mender, state, proxy, owed=owed)
                report.figure(
                    f"{known:,} conversations, {owed} pending rows due",
                    f"{found[known, owed]} calls",
                )
        await state.close()
    for owed in (0, 20, 40):
        extra = found[CONVERSATIONS, owed] - found[FEW, owed]
        report.held(f"{owed} pending rows: more calls where more is known", extra, most=0, unit="")
    each = (found[CONVERSATIONS, 40] - found[CONVERSATIONS, 0]) / 40
    report.held("calls of a pending row", each, most=3, unit="calls")


async def _count_tick(mender: Mender, state: GrownState, proxy: CountingProxy, *, owed: int) -> int:
    """The storage calls of a tick with this number of rows that are due."""
    run_ids = await state.owe(owed)
    before = Counter(proxy.calls)
    count = await mender.mend()
    assert count == owed, f"{count} rows were due, not {owed}"
    calls = sum((Counter(proxy.calls) - before).values())
    for run_id in run_ids:
        await state.tables.pending().drop(run_id)
    return calls


def _make_mender(state: GrownState) -> Mender:
    """Main's mender, on the rows of the state and a bus in memory."""
    clock = SystemClock()
    blobs = MemoryBlobStore(clock=ManualClock())
    memory = make_world(
        tables=MemoryTables(),
        broker=MemoryBroker(clock=clock),
        config=blobs,
        data=blobs,
        logs=blobs,
        model=ScriptedModel(),
        clock=clock,
        ids=SeededIds(random.Random(1)),
    )
    world = replace(
        memory,
        requests=state.tables.requests(),
        pending=state.tables.pending(),
        conversations=state.tables.conversations(),
        index=state.tables.index(),
    )
    settings = Settings.read({"AZURE_FUNCTIONS_ENVIRONMENT": "Development"})
    return MainServices(settings, world=world, telemetry=MemoryTelemetry()).mender
