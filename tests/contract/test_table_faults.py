"""What do the table stores make of what goes wrong on the way, and of rows that are not theirs?"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from azure.data.tables import TableServiceClient

from aos.adapters.blob import AzureBlobs, BlobAccount
from aos.adapters.memory_blobs import MemoryBlobStore
from aos.adapters.tables import AzureTables, TableAccount, account, errors
from aos.domain.conversation import Step
from aos.domain.run import Run
from aos.errors import AosError, OutcomeUnknown, StaleWrite, TransientError
from aos.ports import BlobStore
from devhost.provision import create_storage
from tests.contract.azurite import ACCOUNT, ACCOUNT_KEY, Azurite
from tests.contract.store_suites import (
    NOON,
    a_head,
    a_pending,
    a_request,
    an_ended_run,
    an_id,
    some_messages,
)
from tests.contract.table_stand_ins import CuttingProxy, Fault, answering


class _StoppedClock:
    def now(self) -> Any:
        return NOON

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        return None


def _connection(table_url: str) -> str:
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
        f"TableEndpoint={table_url};"
    )


@contextlib.asynccontextmanager
async def _opened(table_url: str) -> AsyncIterator[AzureTables]:
    async with _with_payloads(table_url, MemoryBlobStore(clock=_StoppedClock())) as tables:
        yield tables


@pytest.fixture(scope="module")
def provisioned(azurite: Azurite) -> Azurite:
    create_storage(azurite.connection_string)
    return azurite


@pytest.fixture
async def tables(provisioned: Azurite) -> AsyncIterator[AzureTables]:
    async with _opened(provisioned.table_url) as opened:
        yield opened


@pytest.fixture
async def proxy(provisioned: Azurite) -> AsyncIterator[CuttingProxy]:
    async with CuttingProxy(provisioned.table_url).running() as running:
        yield running


@pytest.fixture
async def behind(proxy: CuttingProxy) -> AsyncIterator[AzureTables]:
    async with _opened(proxy.url) as opened:
        await opened.check()
        yield opened


WRITES: dict[str, Callable[[AzureTables], Awaitable[object]]] = {
    "insert a request": lambda tables: tables.requests().insert(a_request()),
    "put a pending row": lambda tables: tables.pending().put(a_pending()),
    "drop a pending row": lambda tables: tables.pending().drop(an_id()),
    "save a first head": lambda tables: tables.conversations().save(
        Step(conversation=a_head(a_request())), etag=None
    ),
    "save a step": lambda tables: tables.conversations().save(_whole_step(), etag=None),
    "enter a run": lambda tables: tables.index().add(a_request()),
}
READS: dict[str, Callable[[AzureTables], Awaitable[object]]] = {
    "find a request": lambda tables: tables.requests().find(an_id()),
    "load a head": lambda tables: tables.conversations().load(an_id()),
    "read a history": lambda tables: tables.conversations().history(an_id(), before=9, limit=9),
    "look for due rows": lambda tables: tables.pending().due(NOON, limit=9),
    "look into the ledger": lambda tables: tables.ledger().look(an_ended_run(a_request())),
    "check": lambda tables: tables.check(),
}


def _whole_step() -> Step:
    request = a_request()
    return Step(
        conversation=a_head(request, next_sequence=2),
        messages=some_messages(request, range(2)),
        runs=(an_ended_run(request),),
    )


@pytest.mark.parametrize("fault", ["cut the answer", "cut the request"])
@pytest.mark.parametrize("write", sorted(WRITES))
async def test_a_write_whose_connection_is_cut_has_an_unknown_outcome(
    behind: AzureTables, proxy: CuttingProxy, write: str, fault: Fault
) -> None:
    proxy.fault = fault
    with pytest.raises(OutcomeUnknown):
        await WRITES[write](behind)


@pytest.mark.parametrize("read", sorted(READS))
async def test_a_read_whose_connection_is_cut_is_transient(
    behind: AzureTables, proxy: CuttingProxy, read: str
) -> None:
    proxy.fault = "cut the answer"
    with pytest.raises(TransientError) as raised:
        await READS[read](behind)
    assert not isinstance(raised.value, OutcomeUnknown)


async def test_a_save_whose_answer_was_cut_is_found_and_can_be_gone_on_from(
    behind: AzureTables, proxy: CuttingProxy, tables: AzureTables
) -> None:
    step = _whole_step()
    proxy.fault = "cut the answer"
    with pytest.raises(OutcomeUnknown):
        await behind.conversations().save(step, etag=None)
    proxy.fault = "none"
    loaded = await behind.conversations().load(step.conversation.conversation_id)
    assert loaded.conversation == step.conversation
    later = replace(step.conversation, write_id=an_id())
    etag = await behind.conversations().save(Step(conversation=later), etag=loaded.etag)
    assert (await tables.conversations().load(later.conversation_id)).etag == etag


@pytest.mark.parametrize("write", sorted(WRITES))
async def test_a_write_is_sent_once_however_it_ends(write: str) -> None:
    """A repetition by the SDK would find the first try's row and call it somebody else's."""
    async with answering(500, code="InternalError") as stub, _opened(stub.url) as tables:
        with pytest.raises(OutcomeUnknown):
            await WRITES[write](tables)
    assert stub.requests == (3 if write == "enter a run" else 1)  # three partitions


async def test_a_read_is_tried_three_times() -> None:
    async with answering(500, code="InternalError") as stub, _opened(stub.url) as tables:
        with pytest.raises(TransientError):
            await tables.check()
    assert stub.requests == 3


async def test_usage_whose_recording_was_cut_is_read_anew_and_counted_once(
    behind: AzureTables, proxy: CuttingProxy, provisioned: Azurite
) -> None:
    ledger, agent = behind.ledger(), f"a-{an_id()}"
    first, second, third = _of_one_bucket(agent, 3)
    await ledger.record(first, await ledger.look(first))
    entry = await ledger.look(second)
    proxy.fault = "cut the answer"
    with pytest.raises(OutcomeUnknown):
        await ledger.record(second, entry)
    proxy.fault = "none"
    assert (await ledger.look(second)).seen is True
    with pytest.raises(StaleWrite):
        await ledger.record(second, entry)
    await ledger.record(third, await ledger.look(third))
    (day,) = _rows(provisioned, "aosusage", f"PartitionKey eq '{agent}' and RowKey lt 'e'")
    assert (day["runs"].value, day["input_tokens"].value) == (3, 33)


def _of_one_bucket(agent_id: str, count: int) -> list[Run]:
    """Ended runs whose usage goes into one row."""
    buckets: dict[int, list[Run]] = {}
    while True:
        run = an_ended_run(a_request(agent_id=agent_id))
        found = buckets.setdefault(hashlib.sha256(run.run_id.encode()).digest()[0] % 16, [])
        found.append(run)
        if len(found) == count:
            return found


async def test_no_answer_in_time_is_unknown_for_a_write_and_transient_for_a_read(
    proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "READ_TIMEOUT_SECONDS", 0.2)
    async with _opened(proxy.url) as slow:
        await slow.check()
        proxy.fault = "no answer"
        with pytest.raises(OutcomeUnknown):
            await slow.requests().insert(a_request())
        with pytest.raises(TransientError) as raised:
            await slow.requests().find(an_id())
    assert not isinstance(raised.value, OutcomeUnknown)


async def test_a_call_of_the_sdk_that_hangs_is_ended() -> None:
    with pytest.raises(OutcomeUnknown, match=r"0\.05 s about the row"):
        async with errors.translated("the row", writing=True, timeout_seconds=0.05):
            await _never()


async def _never() -> None:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("write", sorted(WRITES))
async def test_a_write_that_never_left_is_transient_and_not_unknown(write: str) -> None:
    async with _opened(f"http://127.0.0.1:9/{ACCOUNT}") as nobody:  # the discard port: refused
        with pytest.raises(TransientError) as raised:
            await WRITES[write](nobody)
    assert not isinstance(raised.value, OutcomeUnknown)


@pytest.mark.parametrize("write", sorted(WRITES))
async def test_a_busy_service_is_transient_with_its_retry_after(write: str) -> None:
    busy = answering(503, code="ServerBusy", headers={"Retry-After": "7"})
    async with busy as stub, _opened(stub.url) as tables:
        with pytest.raises(TransientError) as raised:
            await WRITES[write](tables)
    assert not isinstance(raised.value, OutcomeUnknown)
    assert raised.value.retry_after_seconds == 7.0


@pytest.mark.parametrize("write", sorted(WRITES))
async def test_an_internal_error_of_the_service_leaves_a_write_unknown(write: str) -> None:
    async with answering(500, code="OperationTimedOut") as stub, _opened(stub.url) as tables:
        with pytest.raises(OutcomeUnknown):
            await WRITES[write](tables)


@pytest.mark.parametrize("doing", [*sorted(WRITES), *sorted(READS)])
async def test_refused_access_names_the_setting_and_the_role(doing: str) -> None:
    async with answering(403, code="AuthorizationFailure") as stub, _opened(stub.url) as tables:
        with pytest.raises(TransientError, match="Storage Table Data Contributor") as raised:
            await (WRITES | READS)[doing](tables)
    assert "AZURE_STORAGE_CONNECTION_STRING" in str(raised.value)
    assert not isinstance(raised.value, OutcomeUnknown)


@pytest.mark.parametrize("doing", sorted({*WRITES, *READS} - {"drop a pending row"}))
async def test_a_missing_table_is_transient_and_says_so(doing: str) -> None:
    async with answering(404, code="TableNotFound") as stub, _opened(stub.url) as tables:
        with pytest.raises(TransientError, match="does not exist; create it"):
            await (WRITES | READS)[doing](tables)


async def test_a_request_that_the_service_calls_wrong_is_our_error() -> None:
    async with answering(400, code="InvalidInput") as stub, _opened(stub.url) as tables:
        with pytest.raises(AosError) as raised:
            await tables.requests().insert(a_request())
    assert raised.value.code == "internal_error"


async def test_a_closed_account_opens_again_with_the_next_call(tables: AzureTables) -> None:
    await tables.check()
    await tables.close()
    await tables.check()


# What the rows look like, and rows that are not ours.


def _rows(provisioned: Azurite, table: str, condition: str) -> list[dict[str, Any]]:
    with (
        TableServiceClient.from_connection_string(provisioned.connection_string) as service,
        service.get_table_client(table) as client,
    ):
        return [dict(row) for row in client.query_entities(condition)]


def _set(provisioned: Azurite, table: str, row: dict[str, Any]) -> None:
    with (
        TableServiceClient.from_connection_string(provisioned.connection_string) as service,
        service.get_table_client(table) as client,
    ):
        client.upsert_entity(row)


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
    await tables.index().add(request)
    await tables.ledger().record(run, await tables.ledger().look(run))

    def keys(table: str, condition: str) -> list[tuple[str, str]]:
        return [(r["PartitionKey"], r["RowKey"]) for r in _rows(provisioned, table, condition)]

    bucket = f"{hashlib.sha256(run.run_id.encode()).digest()[0] % 16:02d}"
    assert keys("aosconversations", f"PartitionKey eq '{name}'") == [
        (name, "head"),
        (name, "msg:0000000000"),
        (name, "msg:0000000001"),
        (name, f"run:{run.run_id}"),
    ]
    assert keys("aosruns", f"PartitionKey eq '{run.run_id}'") == [(run.run_id, "run")]
    assert keys("aospending", f"RowKey eq '{run.run_id}'") == [(bucket, run.run_id)]
    assert keys("aosusage", f"PartitionKey eq '{run.agent_id}'") == [
        (run.agent_id, f"day:2030-01-01:{bucket}"),
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
    async with _opened(provisioned.table_url) as other:  # another instance of main
        for number, run in enumerate(runs):
            ledger = (tables, other)[number % 2].ledger()
            for _ in range(3):
                with contextlib.suppress(StaleWrite):
                    await ledger.record(run, await ledger.look(run))
                    break
    days = _rows(provisioned, "aosusage", f"PartitionKey eq '{agent}' and RowKey lt 'e'")
    assert sum(day["runs"].value for day in days) == 40
    assert sum(day["input_tokens"].value for day in days) == 40 * 11
    assert sum(day["output_tokens"].value for day in days) == 40 * 5


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
    (row,) = _rows(provisioned, "aosruns", f"PartitionKey eq '{request.run_id}'")
    assert json.loads(row["spilled"]) == [[["message"], digest, "text"]]
    assert sum(len(str(value)) for value in row.values()) < 2_000
    await tables.close()
    await blobs.close()


class _CountedBlobs(MemoryBlobStore):
    writes = 0

    async def write(self, name: str, body: bytes, **options: Any) -> str:
        self.writes += 1
        return await super().write(name, body, **options)


@contextlib.asynccontextmanager
async def _with_payloads(table_url: str, payloads: BlobStore) -> AsyncIterator[AzureTables]:
    tables = AzureTables(TableAccount(connection_string=_connection(table_url)), payloads=payloads)
    try:
        yield tables
    finally:
        await tables.close()


async def test_a_head_that_is_saved_again_writes_only_its_new_texts(provisioned: Azurite) -> None:
    payloads = _CountedBlobs(clock=_StoppedClock())
    request = a_request()
    waiting = tuple(a_request(message=f"{number}" * 40_000) for number in range(4))
    head = a_head(request, queued=waiting[:3])
    async with (
        _with_payloads(provisioned.table_url, payloads) as tables,
        _with_payloads(provisioned.table_url, payloads) as other,
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
    payloads = MemoryBlobStore(clock=_StoppedClock())
    request = a_request()
    empty, large = a_head(request), a_head(request, queued=(a_request(message="x" * 40_000),))
    async with (
        _with_payloads(provisioned.table_url, payloads) as tables,
        _with_payloads(provisioned.table_url, payloads) as other,
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
    async with _opened(provisioned.table_url) as other:  # with payloads of its own
        with pytest.raises(TransientError, match=f"payloads/{request.conversation_id}/"):
            await other.requests().find(request.run_id)


async def test_no_property_or_row_passes_the_limits_of_the_service(
    tables: AzureTables, provisioned: Azurite
) -> None:
    request = a_request()
    waiting = tuple(a_request(message="🚀" * 2_000) for _ in range(33))
    await tables.conversations().save(Step(conversation=a_head(request, queued=waiting)), etag=None)
    (head,) = _rows(provisioned, "aosconversations", f"PartitionKey eq '{request.conversation_id}'")
    sizes = [len(value.encode("utf-16-le")) for value in head.values() if isinstance(value, str)]
    assert max(sizes) <= 64 * 1024
    assert sum(sizes) <= 1024 * 1024


async def test_the_previous_schema_version_is_read_and_a_newer_one_refused(
    tables: AzureTables, provisioned: Azurite
) -> None:
    request = a_request()
    run = Run.queued(request)
    name = request.conversation_id
    await tables.conversations().save(Step(conversation=a_head(request), runs=(run,)), etag=None)
    row = {"PartitionKey": name, "RowKey": f"run:{run.run_id}"}
    (stored,) = _rows(
        provisioned, "aosconversations", f"PartitionKey eq '{name}' and RowKey eq '{row['RowKey']}'"
    )
    _set(provisioned, "aosconversations", {**row, "schema": stored["schema"] - 1})
    assert await tables.conversations().find_run(name, run.run_id) == run
    _set(provisioned, "aosconversations", {**row, "schema": stored["schema"] + 1})
    with pytest.raises(TransientError, match="schema version 2"):
        await tables.conversations().find_run(name, run.run_id)


async def test_a_pending_row_of_a_newer_version_stops_no_other(
    tables: AzureTables, provisioned: Azurite
) -> None:
    ours, newer = a_pending(), a_pending()
    await tables.pending().put(ours)
    await tables.pending().put(newer)
    (row,) = _rows(provisioned, "aospending", f"RowKey eq '{newer.run_id}'")
    _set(provisioned, "aospending", {**row, "schema": 2})
    found = {item.run_id for item in await tables.pending().due(NOON, limit=1000)}
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
        looked |= {item.run_id for item in await tables.pending().due(long_ago, limit=12)}
        if looked >= {row.run_id for row in rows}:
            return
    raise AssertionError("some rows were never looked at")


async def test_a_key_from_outside_cannot_leave_its_filter(tables: AzureTables) -> None:
    owner, token = an_id(), "x' or PartitionKey gt 'a"
    await tables.index().add(a_request(owner=owner))
    for after in (token, "'", "''", "\x00", "ü", "z" * 5000):
        page = await tables.index().runs(
            agent_id=None, owner=owner, since=None, after=after, limit=5
        )
        assert {item.owner for item in page.items} <= {owner}
