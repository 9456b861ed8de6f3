"""Measures a conversation of 10,000 messages beside one of 10: a turn, what it asks of storage, and
the deletion. Entry point: `measure`."""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from azure.data.tables import TableServiceClient

from benchmarks import parts
from benchmarks import turns as turn_measures
from benchmarks.budget import find_targets, make_proxy_settings
from benchmarks.counting import CountingProxy
from benchmarks.figures import Report, median
from benchmarks.grown_state import GrownState
from benchmarks.wire import Connection
from devhost.laptop import Laptop
from devhost.settings import BUS, STORAGE

FEW = 10
MESSAGES = 10_000
WARM_UP = 20
"""Turns before the measured ones; they fill the window of the short conversation."""
TURNS = 60
COUNTED = 20
QUIET_SECONDS = 2.0
MEGABYTE = 1024 * 1024
DELETE_SECONDS = 600.0
OF_A_TURN = ("$batch", "aosconversations", "aosruns")
"""The tables that only turns use, and transactions."""


def measure(report: Report, root: Path) -> None:
    """Measure turns on a long conversation, the storage calls of a turn, and the deletion."""
    with (
        parts.instant_model() as model,
        Laptop(root=root / "parts", model_endpoint=model, apps=()) as storage,
    ):
        with (
            CountingProxy(find_targets(storage)) as proxy,
            parts.laptop(
                root=root / "counted", model=model, settings=make_proxy_settings(proxy)
            ) as laptop,
        ):
            lengths = asyncio.run(_grow(laptop, storage))
            _count(report, laptop.urls["main"], proxy, lengths)
        direct = {
            STORAGE: storage.storage_connection_string,
            BUS: storage.servicebus_connection_string,
        }
        with parts.laptop(root=root / "apps", model=model, settings=direct) as laptop:
            asyncio.run(_time_turns(report, laptop.urls["main"], lengths))
            _time_deletions(report, laptop, lengths)


async def _grow(laptop: Laptop, storage: Laptop) -> dict[int, str]:
    """Make a short and a long conversation; return their ids by their lengths."""
    url = laptop.urls["main"]
    short = await turn_measures.grown(url, messages=FEW)
    long = f"long-{short}"
    async with Connection(url) as client:
        turn = await turn_measures.one(client, conversation_id=long)
    state = GrownState(storage.storage_connection_string)
    await state.copy_from(long, turn.run["run_id"])
    await state.lengthen(long, messages=MESSAGES)
    await state.close()
    lengths = {FEW: short, MESSAGES: long}
    await turn_measures.by_history(url, lengths, each=WARM_UP)
    return lengths


# the calls


def _count(report: Report, url: str, proxy: CountingProxy, lengths: Mapping[int, str]) -> None:
    report.head(f"What a turn asks of storage, with {FEW} and with {MESSAGES:,} messages")
    short, long = (_count_turns(url, proxy, name) for name in lengths.values())
    for kind in sorted(short.calls.keys() | long.calls.keys()):
        report.figure(
            kind,
            f"{short.calls[kind] / COUNTED:.2f} / {long.calls[kind] / COUNTED:.2f} calls, "
            f"{short.bytes[kind] / COUNTED / 1024:.1f} / {long.bytes[kind] / COUNTED / 1024:.1f}"
            f" KB, {short.seconds.get(kind, 0.0) / COUNTED * 1000:.2f} /"
            f" {long.seconds.get(kind, 0.0) / COUNTED * 1000:.2f} ms",
        )
    more = (long.calls.total() - short.calls.total()) / COUNTED
    report.held("more calls in the long conversation", more, most=0.1, unit="calls")
    bytes_over = long.bytes.total() / short.bytes.total()
    report.held("bytes of the long conversation over those", bytes_over, most=1.1, unit="times")
    waits = [sum(found.seconds.values()) / COUNTED * 1000 for found in (short, long)]
    report.figure("storage answered in, summed", f"{waits[0]:.1f} / {waits[1]:.1f} ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What some turns asked of the tables of turns, by the kind of the call."""

    calls: Counter[str]
    bytes: Counter[str]
    seconds: Mapping[str, float]


def _count_turns(url: str, proxy: CountingProxy, name: str) -> Counted:
    time.sleep(QUIET_SECONDS)  # lets what follows the last answer end
    before = (Counter(proxy.calls), Counter(proxy.bytes), dict(proxy.seconds))
    asyncio.run(turn_measures.by_history(url, {0: name}, each=COUNTED))
    time.sleep(QUIET_SECONDS)
    kinds = [kind for kind in proxy.calls if kind.endswith(OF_A_TURN)]
    return Counted(
        calls=Counter({kind: proxy.calls[kind] - before[0][kind] for kind in kinds}),
        bytes=Counter({kind: proxy.bytes[kind] - before[1][kind] for kind in kinds}),
        seconds={kind: proxy.seconds[kind] - before[2].get(kind, 0.0) for kind in kinds},
    )


# the time


async def _time_turns(report: Report, url: str, lengths: dict[int, str]) -> None:
    report.head(f"A turn with {MESSAGES:,} messages of history, beside one with {FEW}")
    await turn_measures.by_history(url, lengths, each=WARM_UP)
    found = await turn_measures.by_history(url, lengths, each=TURNS)
    few, many = median(found[FEW]), median(found[MESSAGES])
    report.figure(f"{FEW} messages / {MESSAGES:,} messages, p50", f"{few:.1f} / {many:.1f} ms")
    report.held(f"{MESSAGES:,} messages over {FEW}", many / few, most=1.3, unit="times")


# the deletion


def _time_deletions(report: Report, laptop: Laptop, lengths: Mapping[int, str]) -> None:
    report.head(f"Deleting a conversation of {MESSAGES:,} messages")
    small = _delete(laptop, lengths[FEW])
    large = _delete(laptop, lengths[MESSAGES])
    report.figure(f"{small.rows:,} rows, seconds", f"{small.seconds:.1f}")
    report.figure(f"{large.rows:,} rows, seconds", f"{large.seconds:.1f}")
    report.figure("rows left of it", f"{large.left}: {', '.join(large.names)}")
    report.figure(
        "realm's memory before / at its peak", f"{large.before:.0f} / {large.peak:.0f} MB"
    )
    report.held("realm's memory grows by", large.peak - large.before, most=32, unit="MB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """What a deletion took: rows before and after, seconds, megabytes of realm's memory."""

    rows: int
    left: int
    names: list[str]
    seconds: float
    before: float
    peak: float


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
        before=base / MEGABYTE,
        peak=peak.bytes / MEGABYTE,
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
