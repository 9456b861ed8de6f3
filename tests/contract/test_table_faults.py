"""What do the table stores make of what goes wrong on the way, be it a write or a read?"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from aos.adapters.tables import AzureTables, account, errors
from aos.domain.runs.conversation import Step
from aos.domain.runs.run import Run
from aos.errors import AosError, OutcomeUnknown, StaleWrite, TransientError
from aos.ports.ledger import CountedRun
from tests.contract.azurite import ACCOUNT, Azurite
from tests.contract.table_account import opened, rows_of
from tests.contract.table_stand_ins import CuttingProxy, Fault, answering
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


@pytest.fixture
async def proxy(provisioned: Azurite) -> AsyncIterator[CuttingProxy]:
    async with CuttingProxy(provisioned.table_url).running() as running:
        yield running


@pytest.fixture
async def behind(proxy: CuttingProxy) -> AsyncIterator[AzureTables]:
    async with opened(proxy.url) as stores:
        await stores.check()
        yield stores


WRITES: dict[str, Callable[[AzureTables], Awaitable[object]]] = {
    "insert a request": lambda tables: tables.requests().insert(a_request()),
    "put a pending row": lambda tables: tables.pending().put(a_pending()),
    "drop a pending row": lambda tables: tables.pending().drop(an_id()),
    "save a first head": lambda tables: tables.conversations().save(
        Step(conversation=a_head(a_request())), etag=None
    ),
    "save a step": lambda tables: tables.conversations().save(_whole_step(), etag=None),
    "enter a run": lambda tables: tables.index().add(a_listed(a_request())),
}
READS: dict[str, Callable[[AzureTables], Awaitable[object]]] = {
    "find a request": lambda tables: tables.requests().find(an_id()),
    "load a head": lambda tables: tables.conversations().load(an_id()),
    "read a history": lambda tables: tables.conversations().read_history(
        an_id(), before=9, limit=9
    ),
    "look for due rows": lambda tables: tables.pending().list_due(NOON, limit=9),
    "look into the ledger": lambda tables: tables.ledger().is_recorded(an_ended_run(a_request())),
    "check": lambda tables: tables.check(),
}


def _whole_step() -> Step:
    request = a_request()
    return Step(
        conversation=a_head(request, next_sequence=2),
        messages=some_messages(request, range(2)),
        runs=(an_ended_run(request),),
    )


@pytest.mark.parametrize("fault", ["cut the answer", "cut within the answer", "cut the request"])
@pytest.mark.parametrize("write", sorted(WRITES))
async def test_a_write_whose_connection_is_cut_has_an_unknown_outcome(
    behind: AzureTables, proxy: CuttingProxy, write: str, fault: Fault
) -> None:
    proxy.fault = fault
    with pytest.raises(OutcomeUnknown):
        await WRITES[write](behind)


@pytest.mark.parametrize("fault", ["cut the answer", "cut within the answer"])
@pytest.mark.parametrize("read", sorted(READS))
async def test_a_read_whose_connection_is_cut_is_transient(
    behind: AzureTables, proxy: CuttingProxy, read: str, fault: Fault
) -> None:
    proxy.fault = fault
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
    async with answering(500, code="InternalError") as stub, opened(stub.url) as tables:
        with pytest.raises(OutcomeUnknown):
            await WRITES[write](tables)
    assert stub.requests == (3 if write == "enter a run" else 1)  # three partitions


async def test_a_read_is_tried_three_times() -> None:
    async with answering(500, code="InternalError") as stub, opened(stub.url) as tables:
        with pytest.raises(TransientError):
            await tables.check()
    assert stub.requests == 3


async def test_usage_whose_recording_was_cut_is_read_anew_and_counted_once(
    behind: AzureTables, proxy: CuttingProxy, provisioned: Azurite
) -> None:
    ledger, agent = behind.ledger(), f"a-{an_id()}"
    first, second, third = _of_one_bucket(agent, 3)
    await ledger.record(CountedRun(run=first, owner="ann"))
    proxy.fault = "cut the answer"
    with pytest.raises(OutcomeUnknown):
        await ledger.record(CountedRun(run=second, owner="ann"))
    proxy.fault = "none"
    assert await ledger.is_recorded(second)
    with pytest.raises(StaleWrite):
        await ledger.record(CountedRun(run=second, owner="ann"))
    await ledger.record(CountedRun(run=third, owner="ann"))
    (day,) = rows_of(provisioned, "aosusage", f"PartitionKey eq '{agent}' and RowKey lt 'e'")
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
    async with opened(proxy.url) as slow:
        await slow.check()
        proxy.fault = "no answer"
        with pytest.raises(OutcomeUnknown):
            await slow.requests().insert(a_request())
        with pytest.raises(TransientError) as raised:
            await slow.requests().find(an_id())
    assert not isinstance(raised.value, OutcomeUnknown)


async def test_a_call_of_the_sdk_that_hangs_is_ended() -> None:
    with pytest.raises(OutcomeUnknown, match=r"within 0\.05 s \(the row\)"):
        async with errors.translate_errors("the row", writing=True, timeout_seconds=0.05):
            await _never()


async def _never() -> None:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("write", sorted(WRITES))
async def test_a_write_that_never_left_is_transient_and_not_unknown(write: str) -> None:
    async with opened(f"http://127.0.0.1:9/{ACCOUNT}") as nobody:  # the discard port: refused
        with pytest.raises(TransientError) as raised:
            await WRITES[write](nobody)
    assert not isinstance(raised.value, OutcomeUnknown)


@pytest.mark.parametrize("write", sorted(WRITES))
async def test_a_busy_service_is_transient_with_its_retry_after(write: str) -> None:
    busy = answering(503, code="ServerBusy", headers={"Retry-After": "7"})
    async with busy as stub, opened(stub.url) as tables:
        with pytest.raises(TransientError) as raised:
            await WRITES[write](tables)
    assert not isinstance(raised.value, OutcomeUnknown)
    assert raised.value.retry_after_seconds == 7.0


@pytest.mark.parametrize("write", sorted(WRITES))
async def test_an_internal_error_of_the_service_leaves_a_write_unknown(write: str) -> None:
    async with answering(500, code="OperationTimedOut") as stub, opened(stub.url) as tables:
        with pytest.raises(OutcomeUnknown):
            await WRITES[write](tables)


@pytest.mark.parametrize("doing", [*sorted(WRITES), *sorted(READS)])
async def test_refused_access_names_the_setting_and_the_role(doing: str) -> None:
    async with answering(403, code="AuthorizationFailure") as stub, opened(stub.url) as tables:
        with pytest.raises(TransientError, match="Storage Table Data Contributor") as raised:
            await (WRITES | READS)[doing](tables)
    assert "AZURE_STORAGE_CONNECTION_STRING" in str(raised.value)
    assert not isinstance(raised.value, OutcomeUnknown)


@pytest.mark.parametrize("doing", sorted({*WRITES, *READS}))
async def test_a_missing_table_is_transient_and_says_so(doing: str) -> None:
    async with answering(404, code="TableNotFound") as stub, opened(stub.url) as tables:
        with pytest.raises(TransientError, match="does not exist; create it"):
            await (WRITES | READS)[doing](tables)


async def test_a_request_that_the_service_calls_wrong_is_our_error() -> None:
    async with answering(400, code="InvalidInput") as stub, opened(stub.url) as tables:
        with pytest.raises(AosError) as raised:
            await tables.requests().insert(a_request())
    assert raised.value.code == "internal_error"


async def test_a_closed_account_opens_again_with_the_next_call(tables: AzureTables) -> None:
    await tables.check()
    await tables.close()
    await tables.check()
