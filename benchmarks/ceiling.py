"""Measures how many turns a second the storage could take if AOS itself cost nothing. Entry point:
`measure_ceiling`.

Plain processes make the storage calls of a turn with the SDK's own client, and nothing else, on the
same account. The throughput of AOS is compared with that ceiling. `python -m benchmarks.ceiling` is
one of these processes.
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
"""About the size of a head row while a run is active."""


def measure_ceiling(connection_string: str, *, seconds: float) -> float:
    """Return the turns a second of `PROCESSES` plain SDK processes."""
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


async def make_turn_calls(tables: TableServiceClient) -> int:
    """Make the storage calls of a turn in a new conversation; return their number."""
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
    await call(_expect_absent(conversations.get_entity(run_id, "head")))
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
    await call(_expect_absent(usage.get_entity(agent, f"seen:{run_id}")))
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
    """Return the turns a second of this process."""
    from azure.data.tables.aio import TableServiceClient

    done = 0
    async with TableServiceClient.from_connection_string(connection_string) as tables:
        await make_turn_calls(tables)
        started = time.perf_counter()

        async def work() -> None:
            nonlocal done
            while time.perf_counter() - started < seconds:
                await make_turn_calls(tables)
                done += 1

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        return done / (time.perf_counter() - started)


async def count_calls_of_turn(connection_string: str) -> int:
    """Return how many calls the ceiling makes for a turn, to compare with AOS."""
    from azure.data.tables.aio import TableServiceClient

    async with TableServiceClient.from_connection_string(connection_string) as tables:
        return await make_turn_calls(tables)


async def _expect_absent(read: Awaitable[Any]) -> None:
    from azure.core.exceptions import ResourceNotFoundError

    try:
        await read
    except ResourceNotFoundError:
        return


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, required=True)
    print(asyncio.run(measure(os.environ[SETTING], parser.parse_args().seconds)))
