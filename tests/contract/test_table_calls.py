"""Is what AOS sends to a table what the SDK's own client would send?

Both make the same calls of an endpoint that writes them down. The SDK's client decides what is
right.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from azure.core import MatchConditions
from azure.data.tables import EdmType
from azure.data.tables.aio import TableClient

from aos.adapters.tables.account import Table, Write
from aos.adapters.tables.odata import as_int64
from aos.errors import AosError
from tests.contract.table_account import connection_to, table_at
from tests.contract.table_stand_ins import replying

ETAG = "W/\"datetime'2026-01-31T09%3A00%3A00.0000000Z'\""
ODD = "o'clock ü /?%+#&:~-_.!*() 🙂"
"""A key that a URL cannot hold as it is. (A key of Azure may not hold `/ ? #`; the writer may.)"""
VALUES = {"text": ODD, "yes": True, "small": -(2**31), "nothing": None, "lone": "\udc80"}
OURS: dict[str, Any] = {"PartitionKey": ODD, "RowKey": "r'1", **VALUES, "large": as_int64(2**62)}
THEIRS: dict[str, Any] = {**OURS, "large": (2**62, EdmType.INT64)}
RANGE = "PartitionKey eq @name and RowKey gt @start and yes eq true"
AT = {"etag": ETAG, "match_condition": MatchConditions.IfNotModified}
NO_ECHO = {"response_preference": "return-no-content"}

CASES: dict[
    str, tuple[Callable[[TableClient], Awaitable[object]], Callable[[Table], Awaitable[object]]]
] = {
    "get": (lambda sdk: sdk.get_entity(ODD, "r'1"), lambda table: table.get(ODD, "r'1")),
    "get of some properties": (
        lambda sdk: sdk.get_entity("p", "r", select=["a", "RowKey"]),
        lambda table: table.get("p", "r", select=("a", "RowKey")),
    ),
    "insert": (
        lambda sdk: sdk.create_entity(THEIRS, retry_total=0, **NO_ECHO),
        lambda table: table.insert(OURS),
    ),
    "put": (
        lambda sdk: sdk.upsert_entity(THEIRS, "replace", retry_total=0),
        lambda table: table.put(OURS),
    ),
    "replace": (
        lambda sdk: sdk.update_entity(THEIRS, "replace", retry_total=0, **AT),
        lambda table: table.replace(OURS, etag=ETAG),
    ),
    "merge": (
        lambda sdk: sdk.update_entity(THEIRS, "merge", retry_total=0, **AT),
        lambda table: table.merge(OURS, etag=ETAG),
    ),
    "delete": (
        lambda sdk: sdk.delete_entity(ODD, "r'1", retry_total=0),
        lambda table: table.delete(ODD, "r'1"),
    ),
    "delete at an etag": (
        lambda sdk: sdk.delete_entity("p", "r", retry_total=0, **AT),
        lambda table: table.delete("p", "r", etag=ETAG),
    ),
    "query": (
        lambda sdk: _list(sdk, RANGE, name=ODD, start="@name it's"),
        lambda table: table.query(RANGE, name=ODD, start="@name it's"),
    ),
    "query of two pages": (
        lambda sdk: _list(sdk, "PartitionKey gt @after", select=["a", "b"], top=2, after=""),
        lambda table: table.query("PartitionKey gt @after", select=["a", "b"], limit=2, after=""),
    ),
    "transaction": (
        lambda sdk: sdk.submit_transaction(
            [
                ("create", THEIRS, NO_ECHO),
                ("upsert", {**THEIRS, "RowKey": "2"}, {"mode": "replace"}),
                ("update", {**THEIRS, "RowKey": "3"}, {"mode": "replace", **AT}),
                ("update", {**THEIRS, "RowKey": "4"}, {"mode": "merge", **AT}),
                ("delete", {"PartitionKey": ODD, "RowKey": "5"}),
            ],
            retry_total=0,
        ),
        lambda table: table.transact(
            [
                Write(entity=OURS, insert=True),
                Write(entity={**OURS, "RowKey": "2"}),
                Write(entity={**OURS, "RowKey": "3"}, etag=ETAG),
                Write(entity={**OURS, "RowKey": "4"}, etag=ETAG, merge=True),
                Write(entity={"PartitionKey": ODD, "RowKey": "5"}, delete=True),
            ]
        ),
    ),
}


async def _list(sdk: TableClient, condition: str, *, top: int | None = None, **names: Any) -> Any:
    select = names.pop("select", None)
    rows = sdk.query_entities(condition, results_per_page=top, select=select, parameters=names)
    return [row async for row in rows]


@pytest.mark.parametrize("case", sorted(CASES))
async def test_a_call_is_the_one_that_the_sdks_client_makes(case: str) -> None:
    by_sdk, by_aos = CASES[case]
    async with _recording() as theirs, _sdk_client(theirs.url) as sdk:
        with contextlib.suppress(Exception):  # the endpoint knows no answer to a transaction
            await by_sdk(sdk)
    async with _recording() as ours, table_at(ours.url, "some") as table:
        with contextlib.suppress(AosError):
            await by_aos(table)
    assert theirs.calls
    assert ours.calls == theirs.calls


@pytest.mark.parametrize("value", [2**31, 1.5, b"bytes", (2**63, "Edm.Int64"), (1, "Edm.Guid")])
async def test_a_value_that_no_row_of_aos_has_is_refused_before_it_is_sent(value: Any) -> None:
    async with _recording() as endpoint, table_at(endpoint.url, "some") as table:
        with pytest.raises(TypeError, match="property 'a' of a row cannot be"):
            await table.put({"PartitionKey": "p", "RowKey": "r", "a": value})
    assert endpoint.calls == []


@dataclass(slots=True)
class _Endpoint:
    url: str = ""
    calls: list[Any] = field(default_factory=list)

    async def answer(self, request: web.Request, number: int) -> web.Response:
        body = await request.read()
        self.calls.append(_Reader(str(request.url.origin())).read(request, body))
        headers = {"ETag": ETAG}
        if "$top" in request.query and "NextRowKey" not in request.query:
            headers |= {
                "x-ms-continuation-NextPartitionKey": "1!4!cA--",
                "x-ms-continuation-NextRowKey": "1!4!c+/=",
            }
        if request.method == "GET":
            return web.json_response({"PartitionKey": "p", "value": []}, headers=headers)
        return web.Response(status=204, headers=headers)


class _Reader:
    """Makes calls comparable: without times, ids, signatures and boundaries."""

    OWN = ("authorization", "date", "x-ms-date", "x-ms-client-request-id", "content-length", "host")

    def __init__(self, origin: str) -> None:
        self._origin = origin

    def read(self, request: web.Request, body: bytes) -> Any:
        raw = [(name.decode().lower(), value.decode()) for name, value in request.raw_headers]
        text = self._plain(body.decode())
        if "--batch" in text:
            content: Any = [self._read_part(part) for part in text.split("--changeset\n")]
        else:
            content = self._read_json(text)
        names = sorted(name for name, _ in raw)
        return request.method, request.raw_path, names, self._read_headers(raw), content

    def _plain(self, text: str) -> str:
        text = re.sub(r"(batch|changeset)_[0-9a-f-]{36}", r"\1", text)
        return text.replace("\r\n", "\n").replace(self._origin, "")

    def _read_part(self, part: str) -> Any:
        head, _, rest = part.partition("\n\n")
        call, _, body = rest.partition("\n\n")
        lines = [*head.splitlines(), *call.splitlines()]
        named = [line.partition(": ")[::2] for line in lines if ": " in line]
        others = [line for line in lines if ": " not in line]
        headers = self._read_headers([(name.lower(), value) for name, value in named])
        content, _, end = body.partition("\n--")
        return others, headers, self._read_json(content), end

    def _read_headers(self, raw: list[tuple[str, str]]) -> dict[str, str]:
        kept = {name: self._plain(value) for name, value in raw if name not in self.OWN}
        if kept.get("content-type", "").startswith("application/json"):
            kept["content-type"] = "application/json"  # the answer that is wanted is in Accept
        return kept

    def _read_json(self, text: str) -> Any:
        if not text.strip():
            return None
        read = json.loads(text)
        return {name: value for name, value in read.items() if value != "Edm.String"}


@contextlib.asynccontextmanager
async def _recording() -> AsyncIterator[_Endpoint]:
    endpoint = _Endpoint()
    async with replying(endpoint.answer) as stub:
        endpoint.url = stub.url
        yield endpoint


@contextlib.asynccontextmanager
async def _sdk_client(url: str) -> AsyncIterator[TableClient]:
    async with TableClient.from_connection_string(connection_to(url), "some") as client:
        yield client
