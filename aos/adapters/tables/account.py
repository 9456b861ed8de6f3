"""Calls the tables of a storage account. Entry points: `TableClients`, `Table`.

`TableClients` keeps one pipeline of the Azure SDK with a pool of 100 connections, opened by the
first call. A `Table` is one table: each method is one call with a time limit, and its errors are
translated. Reads are repeated twice and writes never, neither by the pipeline nor by its transport:
after a lost answer, the repeat of a write would find the first write and report a conflict.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from wsgiref.handlers import format_date_time

from aos.adapters.storage_calls import READ_RETRIES, READ_TIMEOUT_SECONDS
from aos.adapters.tables import batches, odata
from aos.adapters.tables.errors import is_missing_row, raise_for_status, translate_errors
from aos.adapters.tables.odata import Answer, Call, Entity, Row
from aos.errors import OutcomeUnknown

if TYPE_CHECKING:
    from azure.core.pipeline import AsyncPipeline
    from azure.data.tables.aio import TableServiceClient

__all__ = ["MOST_ROWS", "Entity", "Table", "TableAccount", "TableClients", "Write", "read_etag"]
MOST_ROWS = 90
"""The most rows of a transaction. The service allows 100."""
QUERY_TIMEOUT_SECONDS = 60.0
_VERSIONS = ("x-ms-version", "DataServiceVersion")
LARGEST_PAGE = 1000
"""The most rows that the service returns in one answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableAccount:
    """How to reach the tables: by a connection string or by identity.

    By identity: `account_name` (setting suffix `__accountName`) or `service_url`
    (`__tableServiceUri`); `client_id` (`__clientId`) names a user-assigned identity.
    """

    connection_string: str | None = field(default=None, repr=False)
    account_name: str | None = None
    service_url: str | None = None
    client_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One row of a transaction: to put, to insert, to replace at an ETag, or to delete.

    With `merge` a row at an ETag keeps the properties that are not in `entity`: those that only a
    newer version knows.
    """

    entity: Entity
    etag: str | None = None
    insert: bool = False
    delete: bool = False
    merge: bool = False


class TableClients:
    """The SDK's pipeline of one account, opened by the first call."""

    def __init__(self, account: TableAccount) -> None:
        self._account = account
        self._pipeline: AsyncPipeline[Any, Any] | None = None
        self._credential: Any = None
        self._url = ""
        self._headers: dict[str, str] = {}

    async def send(self, call: Call) -> Answer:
        """Send a call and return its answer, whatever its status. A write is sent once."""
        from azure.core.rest import HttpRequest

        pipeline = self._pipeline or self._open()
        date = format_date_time(time.time())
        headers = {
            **self._headers,
            "x-ms-client-request-id": str(uuid.uuid4()),
            "x-ms-date": date,
            "Date": date,
            **call.headers,
        }
        request = HttpRequest(
            call.method, self._url + call.path, headers=headers, content=call.body
        )
        retries = READ_RETRIES if call.method == "GET" else 0
        response = (await pipeline.run(request, retry_total=retries)).http_response
        return Answer(
            status=response.status_code,
            reason=response.reason,
            headers=response.headers,
            body=response.content,
        )

    async def send_together(self, calls: Sequence[Call]) -> tuple[Answer, list[Answer]]:
        """Send calls as one transaction; return its answer and those to its calls, or only that
        to the call that failed."""
        if self._pipeline is None:
            self._open()
        boundary = str(uuid.uuid4())
        versions = {name: self._headers[name] for name in _VERSIONS}
        whole = batches.write_batch(calls, url=self._url, headers=versions, boundary=boundary)
        answer = await self.send(whole)
        return answer, batches.read_batch(answer, count=len(calls)) if answer.is_good else []

    async def close(self) -> None:
        """Close the pipeline. The next call opens another."""
        pipeline, self._pipeline = self._pipeline, None
        credential, self._credential = self._credential, None
        if pipeline is not None:
            await pipeline.__aexit__()
        if credential is not None:
            await credential.close()

    def _open(self) -> AsyncPipeline[Any, Any]:
        """Build the pipeline with the policies that AOS uses, of those of the SDK's own client."""
        from azure.core.pipeline import AsyncPipeline
        from azure.core.pipeline.policies import (
            AsyncRetryPolicy,
            DistributedTracingPolicy,
            UserAgentPolicy,
        )
        from azure.data.tables import __version__ as version
        from azure.data.tables.aio._authentication_async import _configure_credential

        from aos.adapters.storage_transport import open_transport

        service = self._open_service()
        transport = open_transport(read_timeout=READ_TIMEOUT_SECONDS)
        self._url = service.url.rstrip("/")
        self._headers = {
            "x-ms-version": service.api_version,
            "DataServiceVersion": "3.0",
            "User-Agent": UserAgentPolicy(sdk_moniker=f"data-tables/{version}").user_agent,
        }
        self._pipeline = AsyncPipeline(
            transport,
            [
                AsyncRetryPolicy(retry_total=READ_RETRIES, retry_backoff_factor=0.2),
                _configure_credential(service.credential),
                DistributedTracingPolicy(),
            ],
        )
        return self._pipeline

    def _open_service(self) -> TableServiceClient:
        """Let the SDK read the connection string, or open the identity. The client is not used."""
        from azure.data.tables.aio import TableServiceClient

        account = self._account
        if account.connection_string:
            return TableServiceClient.from_connection_string(account.connection_string)
        from azure.identity.aio import DefaultAzureCredential

        url = account.service_url or f"https://{account.account_name}.table.core.windows.net"
        self._credential = DefaultAzureCredential(managed_identity_client_id=account.client_id)
        return TableServiceClient(url, credential=self._credential)


class Table:
    """One table. Each method is one call to the service."""

    def __init__(self, clients: TableClients, name: str) -> None:
        self._clients = clients
        self._name = name

    async def get(
        self, partition: str, row: str, *, select: Sequence[str] | None = None
    ) -> Row | None:
        """Return the row, or only the properties in `select`; None if it does not exist."""
        what = self._what(partition, row)
        async with translate_errors(what):
            answer = await self._clients.send(
                odata.get_row(self._name, partition, row, select=select)
            )
        if is_missing_row(answer):
            return None
        raise_for_status(answer, what)
        return odata.read_row(answer)

    async def insert(self, entity: Entity) -> str:
        """Insert the row and return its ETag. Raises StaleWrite if it exists."""
        return await self._write(odata.insert_row(self._name, entity), self._what_of(entity))

    async def put(self, entity: Entity) -> str:
        """Write the row, whether or not it exists; return its ETag."""
        return await self._write(odata.put_row(self._name, entity), self._what_of(entity))

    async def replace(self, entity: Entity, *, etag: str) -> str:
        """Replace the row at `etag`; return its new ETag. Raises StaleWrite if it has changed."""
        call = odata.put_row(self._name, entity, etag=etag)
        return await self._write(call, self._what_of(entity))

    async def merge(self, entity: Entity, *, etag: str) -> str:
        """Set these properties of the row at `etag`; return its new ETag. Raises StaleWrite if it
        changed or was deleted."""
        call = odata.put_row(self._name, entity, etag=etag, merge=True)
        return await self._write(call, self._what_of(entity))

    async def delete(self, partition: str, row: str, *, etag: str | None = None) -> None:
        """Delete the row if it exists. Raises StaleWrite if its ETag is not `etag`."""
        what = self._what(partition, row)
        async with translate_errors(what, writing=True):
            answer = await self._clients.send(
                odata.delete_row(self._name, partition, row, etag=etag)
            )
        if not is_missing_row(answer):
            raise_for_status(answer, what, writing=True)

    async def transact(self, writes: Sequence[Write]) -> list[str]:
        """Write all rows of one partition, or none; return their ETags ("" of deleted rows).

        Raises StaleWrite, also for a row to delete that does not exist; its message names the row.
        """
        calls = [_write_call(self._name, write) for write in writes]
        what = f"{len(writes)} rows with {self._what_of(writes[0].entity)}"
        async with translate_errors(what, writing=True):
            try:
                answer, parts = await self._clients.send_together(calls)
            except batches.UnreadableBatch as error:
                raise OutcomeUnknown(f"the answer to {what} cannot be read: {error}") from error
        raise_for_status(answer, what, writing=True)
        if not parts[0].is_good:
            index = odata.read_index(parts[0]) or 0
            key = writes[min(index, len(writes) - 1)].entity["RowKey"]
            raise_for_status(parts[0], f"row {key!r} of {what}", writing=True)
        return [part.headers.get("etag", "") for part in parts]

    async def query(
        self,
        condition: str,
        *,
        limit: int | None = None,
        select: Sequence[str] | None = None,
        **parameters: str,
    ) -> list[Row]:
        """Return the rows that match `condition` (`@name` is a parameter), ordered by key.

        `limit` is the most rows to return, `select` the properties. Every 1,000 rows take one call.
        """
        top = None if limit is None else min(limit, LARGEST_PAGE)
        what = f"rows of table {self._name!r}"
        found: list[Row] = []
        start: odata.Place = {}
        async with translate_errors(what, timeout_seconds=QUERY_TIMEOUT_SECONDS):
            while limit is None or len(found) < limit:
                answer = await self._clients.send(
                    odata.query_rows(
                        self._name, condition, parameters, top=top, select=select, start=start
                    )
                )
                raise_for_status(answer, what)
                rows, start = odata.read_page(answer)
                found += rows
                if not start:
                    break
        return found[:limit]

    async def _write(self, call: Call, what: str) -> str:
        async with translate_errors(what, writing=True):
            answer = await self._clients.send(call)
        raise_for_status(answer, what, writing=True)
        return answer.headers.get("etag", "")

    def _what(self, partition: str, row: str) -> str:
        return f"row {row!r} of {partition!r} in table {self._name!r}"

    def _what_of(self, entity: Entity) -> str:
        return self._what(entity["PartitionKey"], entity["RowKey"])


def _write_call(table: str, write: Write) -> Call:
    """Write the call for one row of a transaction."""
    entity = write.entity
    if write.delete:
        return odata.delete_row(table, entity["PartitionKey"], entity["RowKey"])
    if write.insert:
        return odata.insert_row(table, entity)
    return odata.put_row(table, entity, etag=write.etag, merge=write.merge)


def read_etag(entity: Entity) -> str:
    """Return the ETag of a row that was read."""
    return str(entity.etag)  # type: ignore[attr-defined]  # a Row
