"""Measures the processor time of a storage call, by the SDK's client and as AOS makes it. Entry
point: `storage`.

Both sides call the same Azurite in alternation, in this process. The client is
`azure.data.tables.aio.TableClient` with its own pipeline. Azurite's own time does not count.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from aos.adapters.tables import TableAccount
from aos.adapters.tables.account import Table, TableClients, Write
from benchmarks.figures import Report, median
from devhost.laptop import Laptop

if TYPE_CHECKING:
    from azure.data.tables.aio import TableClient

NO_MODEL = "http://127.0.0.1:9/v1"
ROUNDS = 7
ROWS = 80
DOCUMENT = '{"content":"' + "x" * 1200 + '"}'
"""About the size of a head row while a run is active."""
RANGE = "PartitionKey eq @name and RowKey ge @start and RowKey lt @end"
CALLS = {"get": 100, "insert": 100, "replace": 100, "batch of 5": 30, "query of 80 rows": 30}
"""How often each call is made in a round."""
MOST = {"batch of 5": 0.3, "query of 80 rows": 0.4}
"""The most of the time of the SDK's client that a call may take; the others 0.6."""

Calls: TypeAlias = Mapping[str, Callable[[], Awaitable[object]]]


def storage(report: Report, root: Path) -> None:
    """Print the processor time of each call and how much of the SDK's client it is."""
    report.head("Processor time of a table call in the calling process: SDK's client, AOS")
    with Laptop(root=root / "aos", apps=(), model_endpoint=NO_MODEL) as laptop:
        found = asyncio.run(_compare(laptop.storage_connection_string))
    for name, (theirs, ours) in found.items():
        report.figure(name, f"{theirs:5.0f} µs, {ours:5.0f} µs")
        report.held(
            f"  {name}: AOS over the SDK's client", ours / theirs, most=MOST.get(name, 0.6), unit=""
        )
    report.figure("load of the machine (1 min)", f"{os.getloadavg()[0]:.1f}")


async def _compare(connection_string: str) -> dict[str, tuple[float, float]]:
    from azure.data.tables.aio import TableServiceClient

    clients = TableClients(TableAccount(connection_string=connection_string))
    async with TableServiceClient.from_connection_string(connection_string) as service:
        try:
            ours = _make_our_calls(Table(clients, "aosruns"))
            sides = (_make_sdk_calls(service.get_table_client("aosruns")), ours)
            await _write_rows(Table(clients, "aosruns"))
            rounds = [[await _measure(calls) for calls in sides] for _ in range(ROUNDS + 1)]
        finally:
            await clients.close()
    measured = rounds[1:]  # the first opens the connections
    return {
        name: (
            median([theirs[name] for theirs, _ in measured]),
            median([ours[name] for _, ours in measured]),
        )
        for name in CALLS
    }


async def _measure(calls: Calls) -> dict[str, float]:
    """Return the microseconds of processor time of each call."""
    found = {}
    for name, times in CALLS.items():
        began = time.process_time()
        for _ in range(times):
            await calls[name]()
        found[name] = (time.process_time() - began) / times * 1_000_000
    return found


async def _write_rows(table: Table) -> None:
    await table.put(_row("one", "row"))
    await asyncio.gather(*(table.put(_row("many", f"{n:05d}")) for n in range(ROWS)))


def _make_sdk_calls(client: TableClient) -> Calls:
    from azure.core import MatchConditions

    no_echo: dict[str, Any] = {"response_preference": "return-no-content", "retry_total": 0}
    etag = ""

    async def replace() -> None:
        nonlocal etag
        etag = etag or (await client.upsert_entity(_row("one", "sdk")))["etag"]
        condition = MatchConditions.IfNotModified
        answer = await client.update_entity(
            _row("one", "sdk"), "replace", etag=etag, match_condition=condition, retry_total=0
        )
        etag = answer["etag"]

    async def query() -> list[Any]:
        names = {"name": "many", "start": "0", "end": "1"}
        return [row async for row in client.query_entities(RANGE, parameters=names)]

    return {
        "get": lambda: client.get_entity("one", "row"),
        "insert": lambda: client.create_entity(_row("one", _make_key()), **no_echo),
        "replace": replace,
        "batch of 5": lambda: client.submit_transaction(
            [("create", _row("batch", _make_key())) for _ in range(5)], retry_total=0
        ),
        "query of 80 rows": query,
    }


def _make_our_calls(table: Table) -> Calls:
    etag = ""

    async def replace() -> None:
        nonlocal etag
        etag = etag or await table.put(_row("one", "aos"))
        etag = await table.replace(_row("one", "aos"), etag=etag)

    return {
        "get": lambda: table.get("one", "row"),
        "insert": lambda: table.insert(_row("one", _make_key())),
        "replace": replace,
        "batch of 5": lambda: table.transact(
            [Write(entity=_row("batch", _make_key()), insert=True) for _ in range(5)]
        ),
        "query of 80 rows": lambda: table.query(RANGE, name="many", start="0", end="1"),
    }


def _row(partition: str, key: str) -> dict[str, Any]:
    return {"PartitionKey": partition, "RowKey": key, "schema": 1, "doc": DOCUMENT}


def _make_key() -> str:
    return uuid.uuid4().hex
