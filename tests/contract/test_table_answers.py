"""What do the tables' answers become: of rows, transactions, pages, and errors in odd forms?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.settings import settings
from azure.core.tracing.ext.opentelemetry_span import OpenTelemetrySpan
from azure.data.tables import (
    AccountSasPermissions,
    EdmType,
    ResourceTypes,
    TableServiceClient,
    generate_account_sas,
)
from opentelemetry.trace import SpanKind, get_tracer

from aos.adapters.tables.account import Table, TableAccount, TableClients, Write, read_etag
from aos.adapters.tables.odata import as_int64
from aos.errors import AosError, OutcomeUnknown, StaleWrite, TransientError
from tests.contract.azurite import ACCOUNT, ACCOUNT_KEY, Azurite
from tests.contract.table_account import rows_of, set_row, table_at
from tests.contract.table_stand_ins import answering, replying
from tests.samples import an_id
from tests.unit.finished_spans import finished_spans

TEXTS = {
    "longest": "ü" * 32_000,  # 64 KB in UTF-16, the limit of the service
    "of_signs": "🙂\u0000\u2028'\"\\\r\n--batch" * 500,
    "empty": "",
}
PARTS = "multipart/mixed; boundary=batchresponse_1"


@pytest.fixture
def own_table(azurite: Azurite) -> str:
    """A table for odd rows: other tests look at every row of the tables of AOS."""
    name = "odd"
    with TableServiceClient.from_connection_string(azurite.connection_string) as service:
        service.create_table_if_not_exists(name)
    return name


@pytest.fixture
async def table(azurite: Azurite, own_table: str) -> AsyncIterator[Table]:
    async with table_at(azurite.table_url, own_table) as opened:
        yield opened


def _row(partition: str, key: str, **properties: Any) -> dict[str, Any]:
    return {"PartitionKey": partition, "RowKey": key, **properties}


async def test_what_aos_writes_the_sdk_reads_and_the_other_way_round(
    table: Table, azurite: Azurite, own_table: str
) -> None:
    partition = f"it's ü {an_id()}"
    values = {**TEXTS, "yes": True, "small": 2**31 - 1}
    await table.insert(_row(partition, "a'1", **values, large=as_int64(-(2**63))))
    await table.transact([Write(entity=_row(partition, "b'1", **values, large=as_int64(7)))])
    set_row(azurite, own_table, _row(partition, "c", **values, large=(2**53, EdmType.INT64)))
    escaped = partition.replace("'", "''")
    by_sdk = rows_of(azurite, own_table, f"PartitionKey eq '{escaped}'")
    by_aos = await table.query("PartitionKey eq @name", name=partition)
    large = {"a'1": -(2**63), "b'1": 7, "c": 2**53}
    expected = [_row(partition, key, **values, large=large[key]) for key in sorted(large)]
    assert by_aos == expected
    assert [{**row, "large": row["large"].value} for row in by_sdk] == expected
    alone = await table.get(partition, "a'1")
    assert alone == expected[0]
    assert read_etag(alone) == read_etag(by_aos[0])


async def test_a_shared_access_signature_is_taken_for_every_kind_of_call(
    azurite: Azurite,
    own_table: str,
) -> None:
    signature = generate_account_sas(
        AzureNamedKeyCredential(ACCOUNT, ACCOUNT_KEY),
        ResourceTypes.from_string("sco"),
        AccountSasPermissions(read=True, write=True, delete=True, list=True, add=True, update=True),
        datetime.now(UTC) + timedelta(hours=1),
    )
    connection = f"TableEndpoint={azurite.table_url};SharedAccessSignature={signature}"
    clients = TableClients(TableAccount(connection_string=connection))
    table, partition = Table(clients, own_table), an_id()
    try:
        etag = await table.insert(_row(partition, "r"))
        await table.replace(_row(partition, "r", text="new"), etag=etag)
        await table.transact(
            [Write(entity=_row(partition, "s")), Write(entity=_row(partition, "t"))]
        )
        assert await table.get(partition, "r", select=["text"]) == {"text": "new"}
        assert len(await table.query("PartitionKey eq @name", name=partition, limit=9)) == 3
        await table.delete(partition, "r")
    finally:
        await clients.close()


async def test_a_transaction_says_which_row_was_in_its_way_and_writes_none(table: Table) -> None:
    partition = an_id()
    await table.insert(_row(partition, "taken"))
    writes = [Write(entity=_row(partition, key), insert=True) for key in ("one", "taken", "two")]
    with pytest.raises(StaleWrite, match="row 'taken' of 3 rows"):
        await table.transact(writes)
    assert len(await table.query("PartitionKey eq @name", name=partition)) == 1


async def test_a_transaction_gives_the_etag_of_each_row_in_order(table: Table) -> None:
    partition = an_id()
    await table.insert(_row(partition, "gone"))
    etags = await table.transact(
        [
            Write(entity=_row(partition, "new"), insert=True),
            Write(entity=_row(partition, "gone"), delete=True),
            Write(entity=_row(partition, "put", text="ü")),
        ]
    )
    rows = {
        row["RowKey"]: read_etag(row)
        for row in await table.query("PartitionKey eq @name", name=partition)
    }
    assert etags == [rows["new"], "", rows["put"]]


async def test_all_pages_of_a_query_are_read_up_to_its_limit() -> None:
    async def page(request: web.Request, number: int) -> web.Response:
        after = int(request.query.get("NextRowKey", "0"))
        rows = [{"PartitionKey": "p", "RowKey": str(after + n), "odata.etag": "e"} for n in (1, 2)]
        following = {
            "x-ms-continuation-NextPartitionKey": "p",
            "x-ms-continuation-NextRowKey": str(after + 2),
        }
        return web.json_response({"value": rows}, headers=following if number < 3 else {})

    async with replying(page) as stub, table_at(stub.url) as table:
        whole = await table.query("PartitionKey eq @name", name="p")
        stub.requests = 0
        limited = await table.query("PartitionKey eq @name", limit=3, name="p")
    assert [row["RowKey"] for row in whole] == ["1", "2", "3", "4", "5", "6"]
    assert [row["RowKey"] for row in limited] == ["1", "2", "3"]
    assert stub.requests == 2


def _multipart(*parts: str) -> str:
    """A transaction's answer with these parts, as the service writes it."""
    inner = "".join(
        "--changesetresponse_2\r\nContent-Type: application/http\r\n"
        f"Content-Transfer-Encoding: binary\r\n\r\n{part}\r\n"
        for part in parts
    )
    return (
        "--batchresponse_1\r\nContent-Type: multipart/mixed; boundary=changesetresponse_2\r\n\r\n"
        f"{inner}--changesetresponse_2--\r\n--batchresponse_1--\r\n"
    )


DONE = 'HTTP/1.1 204 No Content\r\nContent-ID: 0\r\nETag: "one"\r\n\r\n'
BUSY = (
    'HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n\r\n{"odata.error":{"code":"ServerBusy","message":{}}}'
)
ODD_ANSWERS = {
    "nothing": "",
    "no parts": "<html>202 Accepted</html>",
    "too few rows": _multipart(DONE),
    "too many rows": _multipart(DONE, DONE, DONE),
    "a part without a status": _multipart(DONE, "Content-ID: 1\r\n\r\n"),
    "a part without an answer": _multipart(DONE, "HTTP/1.1 204 No Content"),
    "cut before its end": _multipart(DONE, DONE).partition("--changesetresponse_2--")[0],
    "cut within a third row": _multipart(DONE, DONE, DONE)[:-150],
    "good and bad": _multipart(DONE, BUSY),
}


async def _transact_with(body: str) -> list[str]:
    async def reply(_: web.Request, number: int) -> web.Response:
        return web.Response(status=202, body=body.encode(), headers={"Content-Type": PARTS})

    async with replying(reply) as stub, table_at(stub.url) as table:
        return await table.transact([Write(entity=_row("p", key)) for key in ("one", "two")])


@pytest.mark.parametrize("odd", sorted(ODD_ANSWERS))
async def test_a_transaction_whose_answer_cannot_be_read_has_an_unknown_outcome(odd: str) -> None:
    with pytest.raises(OutcomeUnknown):
        await _transact_with(ODD_ANSWERS[odd])


async def test_a_whole_answer_to_a_transaction_is_read() -> None:
    assert await _transact_with(_multipart(DONE, DONE.replace("one", "two"))) == ['"one"', '"two"']


async def test_a_busy_service_within_a_transaction_says_how_long_to_wait() -> None:
    with pytest.raises(TransientError) as raised:
        await _transact_with(_multipart(BUSY))
    assert not isinstance(raised.value, OutcomeUnknown)
    assert raised.value.retry_after_seconds == 7.0


async def test_a_transaction_refused_without_a_changeset_is_an_error_of_aos() -> None:
    part = "Content-Type: application/http\r\n\r\nHTTP/1.1 400 Bad Request\r\n\r\n{}"
    with pytest.raises(AosError) as raised:
        await _transact_with(f"--batchresponse_1\r\n{part}\r\n--batchresponse_1--\r\n")
    assert raised.value.code == "internal_error"


@pytest.mark.parametrize("status", [429, 503])
async def test_a_throttled_read_that_stays_throttled_says_how_long_to_wait(status: int) -> None:
    busy = answering(status, code="ServerBusy", headers={"Retry-After": "0"})
    async with busy as stub, table_at(stub.url) as table:
        with pytest.raises(TransientError) as raised:
            await table.get("p", "r")
    assert raised.value.retry_after_seconds == 0.0
    assert stub.requests == 3


async def test_an_error_in_xml_is_understood() -> None:
    async def reply(_: web.Request, number: int) -> web.Response:
        body = "<?xml version='1.0'?><m:error><m:code>TableNotFound</m:code></m:error>"
        return web.Response(status=404, text=body, content_type="application/xml")

    async with replying(reply) as stub, table_at(stub.url) as table:
        with pytest.raises(TransientError, match="does not exist; create it"):
            await table.get("p", "r")


@pytest.mark.parametrize("body", ["", "{", "[]", "<html/>"])
async def test_a_read_whose_answer_cannot_be_read_is_transient(body: str) -> None:
    async def reply(_: web.Request, number: int) -> web.Response:
        return web.Response(status=200, text=body, content_type="application/json")

    async with replying(reply) as stub, table_at(stub.url) as table:
        with pytest.raises(TransientError, match="cannot be read"):
            await table.get("p", "r")
        with pytest.raises(TransientError, match="cannot be read"):
            await table.query("PartitionKey eq @name", name="p")


async def test_a_row_that_is_gone_is_deleted_and_a_changed_one_is_not(table: Table) -> None:
    partition = an_id()
    etag = await table.insert(_row(partition, "r"))
    await table.replace(_row(partition, "r", text="new"), etag=etag)
    with pytest.raises(StaleWrite):
        await table.delete(partition, "r", etag=etag)
    await table.delete(partition, "r")
    await table.delete(partition, "r")
    await table.delete(partition, "r", etag=etag)
    assert await table.get(partition, "r") is None


@pytest.fixture
def traced_sdk() -> Iterator[None]:
    """As without `azure_sdk` in OTEL_PYTHON_DISABLED_INSTRUMENTATIONS."""
    settings.tracing_implementation = OpenTelemetrySpan
    yield
    settings.tracing_implementation.unset_value()


@pytest.mark.usefixtures("traced_sdk")
async def test_calls_have_spans_below_the_runs_where_the_sdks_are_wanted() -> None:
    finished = finished_spans()
    finished.clear()
    async with answering(503, code="ServerBusy") as stub, table_at(stub.url) as table:
        span = get_tracer("test").start_as_current_span("the run")
        with span as run, pytest.raises(TransientError):
            await table.put(_row("p", "r"))
    sent, _ = finished.get_finished_spans()
    assert (sent.name, sent.kind) == ("PUT", SpanKind.CLIENT)
    assert sent.parent is not None
    assert sent.parent.span_id == run.get_span_context().span_id
    attributes = dict(sent.attributes or {})
    assert attributes["http.response.status_code"] == 503
    assert "aosruns(PartitionKey='p',RowKey='r')" in str(attributes["url.full"])
