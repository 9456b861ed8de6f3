"""What do the rows of the table stores look like, and what of rows that are not theirs?"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from aos.adapters.blobs import AzureBlobs, BlobAccount
from aos.adapters.memory.blobs import MemoryBlobStore
from aos.adapters.tables import AzureTables, TableAccount
from aos.adapters.tables.pending import hash_bucket
from aos.domain.budgets import DaySpending
from aos.domain.runs.conversation import Step
from aos.domain.runs.run import Run
from aos.errors import StaleWrite, TransientError
from aos.ports.ledger import CountedRun
from tests.contract.azurite import Azurite
from tests.contract.table_account import StoppedClock, opened, rows_of, set_row, with_payloads
from tests.samples import (
    NOON,
    a_head,
    a_listed,
    a_pending,
    a_request,
    an_ended_run,
    an_id,
    some_messages,
)


@pytest.fixture
async def tables(provisioned: Azurite) -> AsyncIterator[AzureTables]:
    async with opened(provisioned.table_url) as stores:
        yield stores


def _whole_step() -> Step:
    request = a_request()
    return Step(
        conversation=a_head(request, next_sequence=2),
        messages=some_messages(request, range(2)),
        runs=(an_ended_run(request),),
    )


async def test_rows_stand_where_the_contract_says(
    tables: AzureTables, provisioned: Azurite
) -> None:
    step = _whole_step()
    name, run = step.conversation.conversation_id, step.runs[0]
    run = replace(run, agent_id=f"a-{an_id()}", conversation_id=name)
    request = a_request(run_id=run.run_id, agent_id=run.agent_id, owner=an_id())
    await tables.conversations().save(replace(step, runs=(run,)), etag=None)
    await tables.requests().insert(request)
    await tables.pending().put(a_pending(run_id=run.run_id))
    await tables.index().add(a_listed(request))
    await tables.ledger().record(CountedRun(run=run, owner="ann"))

    def keys(table: str, condition: str) -> list[tuple[str, str]]:
        return [(r["PartitionKey"], r["RowKey"]) for r in rows_of(provisioned, table, condition)]

    bucket = f"{hashlib.sha256(run.run_id.encode()).digest()[0] % 16:02d}"
    names = hashlib.sha256(f"ann\0{run.model}".encode()).hexdigest()[:32]
    assert keys("aosconversations", f"PartitionKey eq '{name}'") == [
        (name, "head"),
        (name, "msg:0000000000"),
        (name, "msg:0000000001"),
        (name, f"run:{run.run_id}"),
    ]
    assert keys("aosruns", f"PartitionKey eq '{run.run_id}'") == [(run.run_id, "run")]
    assert keys("aospending", f"RowKey eq '{run.run_id}'") == [(bucket, run.run_id)]
    assert keys("aosusage", f"PartitionKey eq '{run.agent_id}'") == [
        (run.agent_id, f"day:2030-01-01:{bucket}:{names}"),
        (run.agent_id, f"seen:{run.run_id}"),
    ]
    owner = hashlib.sha256(request.owner.encode()).hexdigest()
    inverted = 253_402_300_800_000 - round(request.admitted_at.timestamp() * 1000)
    assert sorted(keys("aosindex", f"run_id eq '{run.run_id}'")) == [
        (partition, f"{inverted:015d}-{run.run_id}")
        for partition in (f"agent:{run.agent_id}", "everybody", f"owner:{owner}")
    ]


async def test_usage_of_a_day_is_summed(tables: AzureTables, provisioned: Azurite) -> None:
    agent = f"a-{an_id()}"
    runs = [an_ended_run(a_request(agent_id=agent)) for _ in range(40)]
    async with opened(provisioned.table_url) as other:  # another instance of main
        for number, run in enumerate(runs):
            ledger = (tables, other)[number % 2].ledger()
            for _ in range(3):
                with contextlib.suppress(StaleWrite):
                    await ledger.record(CountedRun(run=run, owner="ann"))
                    break
    days = rows_of(provisioned, "aosusage", f"PartitionKey eq '{agent}' and RowKey lt 'e'")
    assert sum(day["runs"].value for day in days) == 40
    assert sum(day["input_tokens"].value for day in days) == 40 * 11
    assert sum(day["output_tokens"].value for day in days) == 40 * 5


async def test_usage_rows_of_earlier_versions_are_read(
    tables: AzureTables, provisioned: Azurite
) -> None:
    agent = f"a-{an_id()}"
    old = {"PartitionKey": agent, "RowKey": "day:2030-01-01:07", "schema": 1}
    counts = {"runs": 4, "input_tokens": 3_000_000_000, "output_tokens": 9}
    set_row(provisioned, "aosusage", {**old, **{n: (v, "Edm.Int64") for n, v in counts.items()}})
    run = an_ended_run(a_request(agent_id=agent))
    await tables.ledger().record(CountedRun(run=run, owner="ann"))

    async def read(owner: str | None) -> list[tuple[str | None, str | None, int, int]]:
        found = await tables.usage().read(
            first="2030-01-01", last="2030-01-01", agent_id=agent, owner=owner, most=9
        )
        return [(row.owner, row.model, row.runs, row.usage.input_tokens) for row in found.rows]

    assert sorted(await read(None), key=str) == [
        ("ann", "m", 1, 11),
        (None, None, 4, 3_000_000_000),
    ]
    assert await read("ann") == [("ann", "m", 1, 11)]


async def test_a_row_of_the_version_before_does_not_say_that_all_was_told(
    tables: AzureTables, provisioned: Azurite
) -> None:
    """That version wrote the row before it published the event."""
    run = an_ended_run(a_request(agent_id=f"a-{an_id()}"))
    row = {"PartitionKey": run.agent_id, "RowKey": f"seen:{run.run_id}", "schema": 1}
    set_row(provisioned, "aosusage", {**row, "status": "completed"})
    assert await tables.ledger().is_recorded(run)
    seen = await tables.ledger().find(run)
    assert seen is not None
    assert (seen.told, seen.counted) == (False, True)


async def test_columns_of_a_newer_version_stay_in_rows_that_are_written_again(
    tables: AzureTables, provisioned: Azurite
) -> None:
    """Two versions side by side: the older one sums up, moves and spends in rows of the newer."""
    agent = f"a-{an_id()}"
    runs = [an_ended_run(a_request(agent_id=agent)) for _ in range(200)]
    pending = a_pending(run_id=an_id())
    await tables.pending().put(pending)
    await tables.spending().write(agent, "2030-01-01", DaySpending(tokens=1), etag=None)
    await tables.ledger().record(CountedRun(run=runs[0], owner="ann"))
    rows = [
        *(
            ("aosusage", row)
            for row in rows_of(provisioned, "aosusage", f"PartitionKey eq '{agent}'")
        ),
        *(
            ("aospending", row)
            for row in rows_of(provisioned, "aospending", f"RowKey eq '{pending.run_id}'")
        ),
    ]
    for table, row in rows:
        keys = {name: row[name] for name in ("PartitionKey", "RowKey")}
        set_row(provisioned, table, {**keys, "newer": "kept"})
    (found,) = [
        row
        for row in await tables.pending().list_due(NOON, limit=100)
        if row.run_id == pending.run_id
    ]
    await tables.pending().move(found, next_check=NOON)
    spent = await tables.spending().read(agent, "2030-01-01")
    await tables.spending().write(agent, "2030-01-01", DaySpending(tokens=2), etag=spent.etag)
    same = next(r for r in runs[1:] if hash_bucket(r.run_id) == hash_bucket(runs[0].run_id))
    async with opened(provisioned.table_url) as other:
        for _ in range(3):
            with contextlib.suppress(StaleWrite):
                await other.ledger().record(CountedRun(run=same, owner="ann"))
                break
    again = [
        *rows_of(provisioned, "aosusage", f"PartitionKey eq '{agent}' and RowKey lt 'e'"),
        *rows_of(provisioned, "aosusage", f"PartitionKey eq '{agent}' and RowKey ge 'sp'"),
        *rows_of(provisioned, "aospending", f"RowKey eq '{pending.run_id}'"),
    ]
    assert [row.get("newer") for row in again] == ["kept"] * 3
    day = next(row for row in again if row["RowKey"].startswith("day:"))
    assert day["runs"].value == 2


async def test_large_texts_are_blobs_of_their_conversation(provisioned: Azurite) -> None:
    blobs = AzureBlobs(BlobAccount(connection_string=provisioned.connection_string))
    payloads = blobs.container("aos-data")
    tables = AzureTables(
        TableAccount(connection_string=provisioned.connection_string), payloads=payloads
    )
    text = "Straße " * 6_000
    request = a_request(message=text)
    await tables.requests().insert(request)
    digest = hashlib.sha256(text.encode()).hexdigest()
    blob = await payloads.read(f"payloads/{request.conversation_id}/{digest}")
    assert blob is not None
    assert blob.body.decode() == text
    (row,) = rows_of(provisioned, "aosruns", f"PartitionKey eq '{request.run_id}'")
    assert json.loads(row["spilled"]) == [[["message"], digest, "text"]]
    assert sum(len(str(value)) for value in row.values()) < 2_000
    await tables.close()
    await blobs.close()


class _CountedBlobs(MemoryBlobStore):
    writes = 0

    async def write(self, name: str, body: bytes, **options: Any) -> str:
        self.writes += 1
        return await super().write(name, body, **options)


async def test_a_head_that_is_saved_again_writes_only_its_new_texts(provisioned: Azurite) -> None:
    payloads = _CountedBlobs(clock=StoppedClock())
    request = a_request()
    waiting = tuple(a_request(message=f"{number}" * 40_000) for number in range(4))
    head = a_head(request, queued=waiting[:3])
    async with (
        with_payloads(provisioned.table_url, payloads) as tables,
        with_payloads(provisioned.table_url, payloads) as other,
    ):
        etag = await tables.conversations().save(Step(conversation=head), etag=None)
        assert payloads.writes == 3
        etag = await tables.conversations().save(
            Step(conversation=replace(head, queued=waiting)), etag=etag
        )
        assert payloads.writes == 4
        loaded = await other.conversations().load(request.conversation_id)
        await other.conversations().save(Step(conversation=head), etag=loaded.etag)
        assert payloads.writes == 4


async def test_texts_that_another_removed_with_its_head_are_written_again(
    provisioned: Azurite,
) -> None:
    payloads = MemoryBlobStore(clock=StoppedClock())
    request = a_request()
    empty, large = a_head(request), a_head(request, queued=(a_request(message="x" * 40_000),))
    async with (
        with_payloads(provisioned.table_url, payloads) as tables,
        with_payloads(provisioned.table_url, payloads) as other,
    ):
        old = await tables.conversations().save(Step(conversation=large), etag=None)
        new = await other.conversations().save(Step(conversation=empty), etag=old)
        for blob in await payloads.list(f"payloads/{request.conversation_id}/"):
            await payloads.delete(blob.name)
        await tables.conversations().save(Step(conversation=large), etag=new)
        loaded = await other.conversations().load(request.conversation_id)
    assert loaded.conversation == large


async def test_a_missing_payload_is_named(tables: AzureTables, provisioned: Azurite) -> None:
    request = a_request(message="x" * 40_000)
    await tables.requests().insert(request)
    async with opened(provisioned.table_url) as other:  # with payloads of its own
        with pytest.raises(TransientError, match=f"payloads/{request.conversation_id}/"):
            await other.requests().find(request.run_id)


async def test_no_property_or_row_passes_the_limits_of_the_service(
    tables: AzureTables, provisioned: Azurite
) -> None:
    request = a_request()
    waiting = tuple(a_request(message="🚀" * 2_000) for _ in range(33))
    await tables.conversations().save(Step(conversation=a_head(request, queued=waiting)), etag=None)
    (head,) = rows_of(
        provisioned, "aosconversations", f"PartitionKey eq '{request.conversation_id}'"
    )
    sizes = [len(value.encode("utf-16-le")) for value in head.values() if isinstance(value, str)]
    assert max(sizes) <= 64 * 1024
    assert sum(sizes) <= 1024 * 1024


async def test_the_previous_schema_version_is_read_and_a_newer_one_refused(
    tables: AzureTables, provisioned: Azurite
) -> None:
    request = a_request()
    run = Run.from_request(request)
    name = request.conversation_id
    await tables.conversations().save(Step(conversation=a_head(request), runs=(run,)), etag=None)
    row = {"PartitionKey": name, "RowKey": f"run:{run.run_id}"}
    (stored,) = rows_of(
        provisioned, "aosconversations", f"PartitionKey eq '{name}' and RowKey eq '{row['RowKey']}'"
    )
    set_row(provisioned, "aosconversations", {**row, "schema": stored["schema"] - 1})
    assert await tables.conversations().find_run(name, run.run_id) == run
    set_row(provisioned, "aosconversations", {**row, "schema": stored["schema"] + 1})
    with pytest.raises(TransientError, match="schema version 2"):
        await tables.conversations().find_run(name, run.run_id)


async def test_a_pending_row_of_a_newer_version_stops_no_other(
    tables: AzureTables, provisioned: Azurite
) -> None:
    ours, newer = a_pending(), a_pending()
    await tables.pending().put(ours)
    await tables.pending().put(newer)
    (row,) = rows_of(provisioned, "aospending", f"RowKey eq '{newer.run_id}'")
    set_row(provisioned, "aospending", {**row, "schema": 2})
    found = {item.run_id for item in await tables.pending().list_due(NOON, limit=1000)}
    assert ours.run_id in found
    assert newer.run_id not in found


async def test_full_looks_at_pending_rows_come_round_to_all(tables: AzureTables) -> None:
    """Though the first ones are due again before the last ones were looked at."""
    long_ago = NOON - timedelta(days=300)
    rows = [a_pending(next_check=long_ago) for _ in range(40)]
    for row in rows:
        await tables.pending().put(row)
    looked: set[str] = set()
    for _ in range(40):
        looked |= {item.run_id for item in await tables.pending().list_due(long_ago, limit=12)}
        if looked >= {row.run_id for row in rows}:
            return
    raise AssertionError("some rows were never looked at")


async def test_a_key_from_outside_cannot_leave_its_filter(tables: AzureTables) -> None:
    owner, token = an_id(), "x' or PartitionKey gt 'a"
    await tables.index().add(a_listed(a_request(owner=owner)))
    for after in (token, "'", "''", "\x00", "ü", "z" * 5000):
        page = await tables.index().list_runs(
            agent_id=None, owner=owner, since=None, after=after, limit=5
        )
        assert {item.owner for item in page.items} <= {owner}
