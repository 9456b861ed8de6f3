"""Measures whether more conversations cost more: in throughput, and for the mender. Entry points:
`many`, `pending`."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path

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

CONVERSATIONS = 10_000
FEW = 100
CLIENTS = 8
BLOCKS = 100
"""Turns in the few and in the many alternate, so that both meet the same machine."""
BLOCKS_A_LINE = 10
BASE_TURNS = 40
ALONE_TURNS = 300
NO_MODEL = "http://127.0.0.1:9/v1"


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


# many conversations


async def _measure_many(report: Report, laptop: Laptop) -> None:
    report.head(f"Turns a second over {CONVERSATIONS:,} conversations, beside {FEW}")
    url, mark = laptop.urls["main"], uuid.uuid4().hex[:6]
    few = await _spread(laptop, [f"few-{mark}-{number}" for number in range(FEW)])
    around = itertools.cycle(few)
    await _count_rate(url, list(itertools.islice(around, ALONE_TURNS)))  # warm
    before = await _count_rate(url, list(itertools.islice(around, ALONE_TURNS)))
    began = time.monotonic()
    names = [f"many-{mark}-{number}" for number in range(CONVERSATIONS)]
    many = await _spread(laptop, random.Random(7).sample(names, len(names)))
    written = time.monotonic() - began
    report.figure(f"{CONVERSATIONS:,} conversations written by the stores in", f"{written:.0f} s")
    size = CONVERSATIONS // BLOCKS
    rates: dict[int, list[float]] = {FEW: [], CONVERSATIONS: []}
    for block in range(BLOCKS):  # each of the many takes one turn
        some = many[block * size : (block + 1) * size]
        rates[FEW].append(await _count_rate(url, list(itertools.islice(around, BASE_TURNS))))
        rates[CONVERSATIONS].append(await _count_rate(url, some))
        if block % BLOCKS_A_LINE == BLOCKS_A_LINE - 1:
            report.figure(
                f"after {(block + 1) * size:,} turns: {FEW} / {CONVERSATIONS:,} active",
                f"{median(rates[FEW]):.1f} / {median(rates[CONVERSATIONS]):.1f} turns/s",
            )
    base, grown = median(rates[FEW]), median(rates[CONVERSATIONS])
    report.figure(f"{FEW} active, no others exist", f"{before:.1f} turns/s")
    report.figure(f"{FEW} active, {CONVERSATIONS:,} others exist", f"{base:.1f} turns/s")
    report.figure(f"{CONVERSATIONS:,} active, one turn each", f"{grown:.1f} turns/s")
    report.reached("many active beside few active", grown / base, least=0.8, unit="times")


async def _spread(laptop: Laptop, names: list[str]) -> list[str]:
    """Write conversations of one run each by the product's stores; return their names."""
    state, _ = await _begin(laptop)
    await state.spread(names)
    await state.close()
    return names


async def _count_rate(url: str, names: list[str]) -> float:
    """Turns a second of clients that ask in one of these conversations after the other."""
    chosen = iter(names)

    async def work() -> None:
        async with Connection(url) as client:
            for name in chosen:
                await turn_measures.one(client, conversation_id=name)

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CLIENTS)))
    return len(names) / (time.perf_counter() - began)


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
    services = MainServices(
        settings, world=world, telemetry=MemoryTelemetry(), pause=world.clock.sleep
    )
    return services.mender
