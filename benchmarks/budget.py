"""Which calls does a turn make? A laptop behind a proxy that counts them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks import parts
from benchmarks.counting import BUS, CountingProxy
from benchmarks.wire import Connection
from devhost import azurite
from devhost.laptop import Laptop
from devhost.ports import HOST, Ports
from devhost.settings import BUS as BUS_SETTING
from devhost.settings import STORAGE as STORAGE_SETTING

WARM_UP = 10
QUIET_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What so many turns took: storage calls by kind, and bus messages."""

    turns: int
    storage: Counter[str]
    messages: int

    @property
    def storage_calls(self) -> float:
        """Storage calls a turn."""
        return sum(self.storage.values()) / self.turns

    @property
    def bus_messages(self) -> float:
        """Bus messages a turn."""
        return self.messages / self.turns


def counted_turns(*, root: Path, model: str, turns: int) -> Budget:
    """Run turns over HTTP, each in a new conversation, and count what they call.

    What the apps' timers call in the same seconds of an idle laptop is taken off.
    """
    with (
        Laptop(root=root / "parts", model_endpoint=model, apps=()) as infrastructure,
        CountingProxy(targets(infrastructure)) as proxy,
        parts.laptop(root=root / "apps", model=model, settings=through(proxy)) as laptop,
    ):
        url = laptop.urls["main"]
        asyncio.run(_some(url, WARM_UP))
        time.sleep(QUIET_SECONDS)  # what follows the last answer, and the senders that open
        began, before = time.monotonic(), Counter(proxy.calls)
        asyncio.run(_some(url, turns))
        time.sleep(QUIET_SECONDS)
        seconds, after = time.monotonic() - began, Counter(proxy.calls)
        time.sleep(seconds)
        idle = Counter(proxy.calls) - after
    counted = after - before
    counted.subtract(idle)
    messages = counted.pop(BUS, 0)
    return Budget(turns=turns, storage=+counted, messages=messages)


async def _some(url: str, count: int) -> None:
    from benchmarks.turns import one

    async with Connection(url) as client:
        for _ in range(count):
            await one(client)


def targets(laptop: Laptop) -> dict[str, int]:
    """The ports that a proxy stands before."""
    ports = laptop.settings.ports
    return {
        "blob": ports.blob,
        "queue": ports.queue,
        "table": ports.table,
        BUS: ports.servicebus,
    }


def through(proxy: CountingProxy) -> dict[str, str]:
    """The settings that lead the apps through the proxy."""
    ports = Ports(blob=proxy.ports["blob"], queue=proxy.ports["queue"], table=proxy.ports["table"])
    return {
        STORAGE_SETTING: azurite.connection_string(ports),
        BUS_SETTING: (
            f"Endpoint=sb://{HOST}:{proxy.ports[BUS]};"
            "SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;"
            "UseDevelopmentEmulator=true;"
        ),
    }
