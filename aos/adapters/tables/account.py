"""Calls the tables of a storage account. Entry points: `TableClients`, `Table`.

`TableClients` keeps one HTTP client with a pool of 100 connections, opened by the first call. A
`Table` is one table: each method is one call with a time limit, and its errors are translated. The
SDK repeats reads twice and writes never: after a lost answer, the repeat of a write would find the
first write and report a conflict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from aos.adapters.storage_calls import CONNECT_TIMEOUT_SECONDS, READ_RETRIES, READ_TIMEOUT_SECONDS
from aos.adapters.tables.errors import is_missing_row, translate_errors

if TYPE_CHECKING:
    from azure.data.tables.aio import TableClient, TableServiceClient

Entity: TypeAlias = Mapping[str, Any]
MOST_ROWS = 90
"""The most rows of a transaction. The service allows 100."""
QUERY_TIMEOUT_SECONDS = 60.0
LARGEST_PAGE = 1000
"""The most rows that the service returns in one answer."""
_ONCE: dict[str, Any] = {"retry_total": 0}
_NO_ECHO: dict[str, Any] = {"response_preference": "return-no-content"}


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
    """The SDK's clients of one account, opened by the first call."""

    def __init__(self, account: TableAccount) -> None:
        self._account = account
        self._service: TableServiceClient | None = None
        self._tables: dict[str, TableClient] = {}
        self._credential: Any = None

    def client(self, table: str) -> TableClient:
        """Return the SDK's client of a table."""
        if self._service is None:
            self._service = self._open()
        if table not in self._tables:
            self._tables[table] = self._service.get_table_client(table)
        return self._tables[table]

    async def close(self) -> None:
        """Close the client. The next call opens another."""
        service, self._service = self._service, None
        self._tables = {}
        credential, self._credential = self._credential, None
        if service is not None:
            await service.close()
        if credential is not None:
            await credential.close()

    def _open(self) -> TableServiceClient:
        from urllib.request import getproxies

        from azure.data.tables.aio import TableServiceClient

        account = self._account
        options: dict[str, Any] = {
            "connection_timeout": CONNECT_TIMEOUT_SECONDS,
            "read_timeout": READ_TIMEOUT_SECONDS,
            "retry_total": READ_RETRIES,
            "retry_backoff_factor": 0.2,
            # To look for a proxy and a .netrc file costs each call two switches to another thread.
            "use_env_settings": bool(getproxies()),
        }
        if account.connection_string:
            return TableServiceClient.from_connection_string(account.connection_string, **options)
        from azure.identity.aio import DefaultAzureCredential

        url = account.service_url or f"https://{account.account_name}.table.core.windows.net"
        self._credential = DefaultAzureCredential(managed_identity_client_id=account.client_id)
        return TableServiceClient(url, credential=self._credential, **options)


class Table:
    """One table. Each method is one call to the service."""

    def __init__(self, clients: TableClients, name: str) -> None:
        self._clients = clients
        self._name = name

    async def get(
        self, partition: str, row: str, *, select: Sequence[str] | None = None
    ) -> Entity | None:
        """Return the row, or only the properties in `select`; None if it does not exist."""
        from azure.core.exceptions import ResourceNotFoundError

        async with translate_errors(self._what(partition, row)):
            try:
                return await self._client().get_entity(
                    partition, row, select=None if select is None else list(select)
                )
            except ResourceNotFoundError as error:
                if is_missing_row(error):
                    return None
                raise

    async def insert(self, entity: Entity) -> str:
        """Insert the row and return its ETag. Raises StaleWrite if it exists."""
        async with translate_errors(self._what_of(entity), writing=True):
            answer = await self._client().create_entity(dict(entity), **_ONCE, **_NO_ECHO)
        return str(answer["etag"])

    async def put(self, entity: Entity) -> str:
        """Write the row, whether or not it exists; return its ETag."""
        from azure.data.tables import UpdateMode

        async with translate_errors(self._what_of(entity), writing=True):
            answer = await self._client().upsert_entity(
                dict(entity), mode=UpdateMode.REPLACE, **_ONCE
            )
        return str(answer["etag"])

    async def replace(self, entity: Entity, *, etag: str) -> str:
        """Replace the row at `etag`; return its new ETag. Raises StaleWrite if it has changed."""
        from azure.core import MatchConditions
        from azure.data.tables import UpdateMode

        async with translate_errors(self._what_of(entity), writing=True):
            answer = await self._client().update_entity(
                dict(entity),
                mode=UpdateMode.REPLACE,
                etag=etag,
                match_condition=MatchConditions.IfNotModified,
                **_ONCE,
            )
        return str(answer["etag"])

    async def merge(self, entity: Entity, *, etag: str) -> str:
        """Set these properties of the row at `etag`; return its new ETag. Raises StaleWrite if it
        changed or was deleted."""
        from azure.core import MatchConditions
        from azure.data.tables import UpdateMode

        async with translate_errors(self._what_of(entity), writing=True):
            answer = await self._client().update_entity(
                dict(entity),
                mode=UpdateMode.MERGE,
                etag=etag,
                match_condition=MatchConditions.IfNotModified,
                **_ONCE,
            )
        return str(answer["etag"])

    async def delete(self, partition: str, row: str, *, etag: str | None = None) -> None:
        """Delete the row if it exists. Raises StaleWrite if its ETag is not `etag`."""
        from azure.core import MatchConditions

        condition: dict[str, Any] = {}
        if etag is not None:
            condition = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        async with translate_errors(self._what(partition, row), writing=True):
            await self._client().delete_entity(partition, row, **condition, **_ONCE)

    async def transact(self, writes: Sequence[Write]) -> list[str]:
        """Write all rows of one partition, or none; return their ETags ("" of deleted rows).

        Raises StaleWrite, also for a row to delete that does not exist.
        """
        first = writes[0].entity
        what = f"{len(writes)} rows with {self._what_of(first)}"
        async with translate_errors(what, writing=True):
            answers = await self._client().submit_transaction(
                [_operation(write) for write in writes], **_ONCE
            )
        return [str(answer.get("etag", "")) for answer in answers]

    async def query(
        self,
        condition: str,
        *,
        limit: int | None = None,
        select: Sequence[str] | None = None,
        **parameters: str,
    ) -> list[Entity]:
        """Return the rows that match `condition` (`@name` is a parameter), ordered by key.

        `limit` is the most rows to return, `select` the properties. Every 1,000 rows take one call.
        """
        options: dict[str, Any] = {} if select is None else {"select": list(select)}
        if limit is not None:
            options["results_per_page"] = min(limit, LARGEST_PAGE)
        found: list[Entity] = []
        what = f"rows of table {self._name!r}"
        async with translate_errors(what, timeout_seconds=QUERY_TIMEOUT_SECONDS):
            rows = self._client().query_entities(condition, parameters=parameters, **options)
            async for row in rows:
                found.append(row)
                if limit is not None and len(found) >= limit:
                    break
        return found

    def _client(self) -> TableClient:
        return self._clients.client(self._name)

    def _what(self, partition: str, row: str) -> str:
        return f"row {row!r} of {partition!r} in table {self._name!r}"

    def _what_of(self, entity: Entity) -> str:
        return self._what(entity["PartitionKey"], entity["RowKey"])


def read_etag(entity: Entity) -> str:
    """Return the ETag of a row that was read."""
    return str(entity.metadata["etag"])  # type: ignore[attr-defined]  # the SDK's TableEntity


def _operation(write: Write) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Convert a write to the SDK's form."""
    from azure.core import MatchConditions
    from azure.data.tables import UpdateMode

    entity = dict(write.entity)
    if write.delete:
        return "delete", entity, {}
    if write.insert:
        return "create", entity, dict(_NO_ECHO)
    if write.etag is None:
        return "upsert", entity, {"mode": UpdateMode.REPLACE}
    condition = {"etag": write.etag, "match_condition": MatchConditions.IfNotModified}
    mode = UpdateMode.MERGE if write.merge else UpdateMode.REPLACE
    return "update", entity, {"mode": mode, **condition}
