"""Counts the storage calls and bus messages of a turn, on a laptop behind a counting proxy. Entry
point: `count_turns`."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks import parts
from benchmarks.counting import BUS, BUS_REQUESTS, CountingProxy
from benchmarks.wire import Connection
from devhost import azurite
from devhost.laptop import Laptop
from devhost.ports import HOST, Ports
from devhost.settings import BUS as BUS_SETTING
from devhost.settings import STORAGE as STORAGE_SETTING

WARM_UP = 10
QUIET_SECONDS = 3.0
POLLS = ("queue GET aos-jobs", "queue GET aos-jobs-poison")
"""The polls of the host's queue trigger, and the looks for dead letters: no part of a turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a number of turns took: storage calls by kind, and bus messages."""

    turns: int
    storage: Counter[str]
    messages: int

    @property
    def storage_calls(self) -> float:
        """Return the storage calls of one turn."""
        return sum(self.storage.values()) / self.turns

    @property
    def bus_messages(self) -> float:
        """Return the bus messages of one turn."""
        return self.messages / self.turns


def count_turns(*, root: Path, model: str, turns: int) -> Budget:
    """Run turns over HTTP, each in a new conversation, and count their calls.

    The calls of the apps' timers in the same time on an idle laptop are subtracted.
    """
    with (
        Laptop(root=root / "parts", model_endpoint=model, apps=()) as infrastructure,
        CountingProxy(find_targets(infrastructure)) as proxy,
        parts.laptop(
            root=root / "apps", model=model, settings=make_proxy_settings(proxy)
        ) as laptop,
    ):
        url = laptop.urls["main"]
        asyncio.run(_run_some(url, WARM_UP))
        time.sleep(QUIET_SECONDS)  # lets the last answer's follow-up work end and the senders open
        began, before = time.monotonic(), Counter(proxy.calls)
        asyncio.run(_run_some(url, turns))
        time.sleep(QUIET_SECONDS)
        seconds, after = time.monotonic() - began, Counter(proxy.calls)
        time.sleep(seconds)
        idle = Counter(proxy.calls) - after
    counted = after - before
    counted.subtract(idle)
    messages = counted.pop(BUS, 0)
    del counted[BUS_REQUESTS]  # those of the timer that looks for dead letters, at its own times
    for poll in POLLS:
        del counted[poll]
    return Budget(turns=turns, storage=+counted, messages=messages)


async def _run_some(url: str, count: int) -> None:
    from benchmarks.turns import one

    async with Connection(url) as client:
        for _ in range(count):
            await one(client)


def find_targets(laptop: Laptop) -> dict[str, int]:
    """Return the ports that the proxy stands in front of."""
    ports = laptop.settings.ports
    return {
        "blob": ports.blob,
        "queue": ports.queue,
        "table": ports.table,
        BUS: ports.servicebus,
    }


def make_proxy_settings(proxy: CountingProxy) -> dict[str, str]:
    """Return the settings that send the apps' calls through the proxy."""
    ports = Ports(blob=proxy.ports["blob"], queue=proxy.ports["queue"], table=proxy.ports["table"])
    return {
        STORAGE_SETTING: azurite.connection_string(ports),
        BUS_SETTING: (
            f"Endpoint=sb://{HOST}:{proxy.ports[BUS]};"
            "SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;"
            "UseDevelopmentEmulator=true;"
        ),
    }
