"""How many turns a second would this storage take if AOS cost nothing else?

Bare SDK processes make the storage calls of a turn, and nothing more, on the same account: the
ceiling that the throughput of AOS is held against. `python -m benchmarks.ceiling` is one of them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from devhost.laptop import REPOSITORY

if TYPE_CHECKING:
    from azure.data.tables.aio import TableServiceClient

SETTING = "CEILING_STORAGE"
PROCESSES = 2
AT_ONCE = 16
TEXT = "Measured, not guessed." * 4
HEAD = "x" * 1200
"""About what a head row holds while a run is active."""


def storage_ceiling(connection_string: str, *, seconds: float) -> float:
    """Turns a second of `PROCESSES` bare SDK processes."""
    command = [sys.executable, "-m", "benchmarks.ceiling", "--seconds", str(seconds)]
    environment = {**os.environ, SETTING: connection_string}
    workers = [
        subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE)
        for _ in range(PROCESSES)
    ]
    rates = []
    for worker in workers:
        said, _ = worker.communicate(timeout=seconds + 60)
        rates.append(float(said))
    return sum(rates)


async def one_turn(tables: TableServiceClient) -> int:
    """The storage calls of a turn in a new conversation; how many they were."""
    run_id, agent = str(uuid.uuid4()), "ceiling"
    calls = 0

    async def call(work: Awaitable[Any]) -> Any:
        nonlocal calls
        calls += 1
        return await work

    def row(partition: str, key: str, **columns: Any) -> dict[str, Any]:
        return {"PartitionKey": partition, "RowKey": key, **columns}

    table = tables.get_table_client
    await call(table("aospending").upsert_entity(row("00", run_id, due=TEXT)))
    await call(table("aosruns").create_entity(row(run_id, "run", document=HEAD)))
    inverted = f"{10**15 - time.time_ns() // 10**6}-{run_id}"
    await asyncio.gather(
        call(table("aosindex").upsert_entity(row(f"agent:{agent}", inverted, document=TEXT))),
        call(
            table("aosindex").submit_transaction(
                [
                    ("upsert", row("owner:ceiling", name, document=TEXT))
                    for name in (inverted, "c" + inverted)
                ]
            )
        ),
        call(
            table("aosindex").submit_transaction(
                [
                    ("upsert", row("everybody", name, document=TEXT))
                    for name in (inverted, "c" + inverted, f"first:{run_id}")
                ]
            )
        ),
    )
    conversations = table("aosconversations")
    await call(_absent(conversations.get_entity(run_id, "head")))
    await call(
        conversations.submit_transaction(
            [
                ("create", row(run_id, "head", document=HEAD)),
                ("upsert", row(run_id, f"run:{run_id}", document=HEAD)),
                ("upsert", row(run_id, "msg:0000000000", document=TEXT)),
                ("upsert", row(run_id, "msg:0000000001", document=TEXT)),
            ]
        )
    )
    await call(conversations.update_entity(row(run_id, "head", document=HEAD), mode="replace"))
    usage = table("aosusage")
    await call(_absent(usage.get_entity(agent, f"seen:{run_id}")))
    await call(
        usage.submit_transaction(
            [
                ("create", row(agent, f"seen:{run_id}", document=TEXT)),
                ("upsert", row(agent, f"day:{os.getpid()}", document=TEXT)),
            ]
        )
    )
    await call(table("aospending").delete_entity("00", run_id))
    return calls


async def measure(connection_string: str, seconds: float) -> float:
    """Turns a second of this process."""
    from azure.data.tables.aio import TableServiceClient

    done = 0
    async with TableServiceClient.from_connection_string(connection_string) as tables:
        await one_turn(tables)
        started = time.perf_counter()

        async def work() -> None:
            nonlocal done
            while time.perf_counter() - started < seconds:
                await one_turn(tables)
                done += 1

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        return done / (time.perf_counter() - started)


async def calls_of_a_turn(connection_string: str) -> int:
    """How many calls the ceiling makes for a turn, to hold beside what AOS makes."""
    from azure.data.tables.aio import TableServiceClient

    async with TableServiceClient.from_connection_string(connection_string) as tables:
        return await one_turn(tables)


async def _absent(read: Awaitable[Any]) -> None:
    from azure.core.exceptions import ResourceNotFoundError

    try:
        await read
    except ResourceNotFoundError:
        return


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, required=True)
    print(asyncio.run(measure(os.environ[SETTING], parser.parse_args().seconds)))
