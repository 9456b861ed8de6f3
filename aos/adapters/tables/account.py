"""How does AOS reach the tables of a storage account?

`TableClients` keeps one HTTP client for the account, with a pool of 100 connections, opened by the
first call. A `Table` is one table: each method is one call, bounded in time, with errors that are
ours. Reads are repeated twice by the SDK; writes never, since after a lost answer the repetition
would find its own write and call it somebody else's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from aos.adapters.tables.errors import is_missing_row, translated

if TYPE_CHECKING:
    from azure.data.tables.aio import TableClient, TableServiceClient

Entity: TypeAlias = Mapping[str, Any]
CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 15
READ_RETRIES = 2
QUERY_TIMEOUT_SECONDS = 60.0
LARGEST_PAGE = 1000
"""What the service gives in one answer at most."""
_ONCE: dict[str, Any] = {"retry_total": 0}
_NO_ECHO: dict[str, Any] = {"response_preference": "return-no-content"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableAccount:
    """Where the tables are: a connection string, or an account reached by identity.

    By identity: `account_name` (setting suffix `__accountName`) or `service_url`
    (`__tableServiceUri`); `client_id` (`__clientId`) names a user-assigned identity.
    """

    connection_string: str | None = field(default=None, repr=False)
    account_name: str | None = None
    service_url: str | None = None
    client_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One row of a transaction: put as it is, inserted, or replaced at an ETag."""

    entity: Entity
    etag: str | None = None
    insert: bool = False


class TableClients:
    """The SDK's clients of one account, opened by the first call and kept."""

    def __init__(self, account: TableAccount) -> None:
        self._account = account
        self._service: TableServiceClient | None = None
        self._tables: dict[str, TableClient] = {}
        self._credential: Any = None

    def client(self, table: str) -> TableClient:
        """The SDK's client of a table."""
        if self._service is None:
            self._service = self._open()
        if table not in self._tables:
            self._tables[table] = self._service.get_table_client(table)
        return self._tables[table]

    async def close(self) -> None:
        """Close the client; the next call opens another."""
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
            # Looking for a proxy and a .netrc costs each call two hops to another thread.
            "use_env_settings": bool(getproxies()),
        }
        if account.connection_string:
            return TableServiceClient.from_connection_string(account.connection_string, **options)
        from azure.identity.aio import DefaultAzureCredential

        url = account.service_url or f"https://{account.account_name}.table.core.windows.net"
        self._credential = DefaultAzureCredential(managed_identity_client_id=account.client_id)
        return TableServiceClient(url, credential=self._credential, **options)


class Table:
    """One table; each method is one call to the service."""

    def __init__(self, clients: TableClients, name: str) -> None:
        self._clients = clients
        self._name = name

    async def get(
        self, partition: str, row: str, *, select: Sequence[str] | None = None
    ) -> Entity | None:
        """The row, whole or only the properties of `select`; None when there is none."""
        from azure.core.exceptions import ResourceNotFoundError

        async with translated(self._what(partition, row)):
            try:
                return await self._client().get_entity(
                    partition, row, select=None if select is None else list(select)
                )
            except ResourceNotFoundError as error:
                if is_missing_row(error):
                    return None
                raise

    async def insert(self, entity: Entity) -> str:
        """Insert the row; its ETag. StaleWrite: there is one."""
        async with translated(self._what_of(entity), writing=True):
            answer = await self._client().create_entity(dict(entity), **_ONCE, **_NO_ECHO)
        return str(answer["etag"])

    async def put(self, entity: Entity) -> str:
        """Write the row, whether or not it exists; its ETag."""
        from azure.data.tables import UpdateMode

        async with translated(self._what_of(entity), writing=True):
            answer = await self._client().upsert_entity(
                dict(entity), mode=UpdateMode.REPLACE, **_ONCE
            )
        return str(answer["etag"])

    async def replace(self, entity: Entity, *, etag: str) -> str:
        """Write the row over the one at `etag`; its new ETag. StaleWrite: it has changed."""
        from azure.core import MatchConditions
        from azure.data.tables import UpdateMode

        async with translated(self._what_of(entity), writing=True):
            answer = await self._client().update_entity(
                dict(entity),
                mode=UpdateMode.REPLACE,
                etag=etag,
                match_condition=MatchConditions.IfNotModified,
                **_ONCE,
            )
        return str(answer["etag"])

    async def merge(self, entity: Entity, *, etag: str) -> None:
        """Set these properties of the row at `etag`. StaleWrite: it has changed, or is gone."""
        from azure.core import MatchConditions
        from azure.data.tables import UpdateMode

        async with translated(self._what_of(entity), writing=True):
            await self._client().update_entity(
                dict(entity),
                mode=UpdateMode.MERGE,
                etag=etag,
                match_condition=MatchConditions.IfNotModified,
                **_ONCE,
            )

    async def delete(self, partition: str, row: str, *, etag: str | None = None) -> None:
        """Delete the row; an absent one is no error. StaleWrite: it is not at `etag`."""
        from azure.core import MatchConditions

        condition: dict[str, Any] = {}
        if etag is not None:
            condition = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        async with translated(self._what(partition, row), writing=True):
            await self._client().delete_entity(partition, row, **condition, **_ONCE)

    async def transact(self, writes: Sequence[Write]) -> list[str]:
        """Write all rows (of one partition) or none; their ETags. StaleWrite: none was written."""
        first = writes[0].entity
        what = f"{len(writes)} rows with {self._what_of(first)}"
        async with translated(what, writing=True):
            answers = await self._client().submit_transaction(
                [_operation(write) for write in writes], **_ONCE
            )
        return [str(answer["etag"]) for answer in answers]

    async def query(
        self, condition: str, *, limit: int | None = None, **parameters: str
    ) -> list[Entity]:
        """The rows for which `condition` holds (`@name` stands for a parameter), by key.

        With `limit` at most so many. One call for each 1,000 rows.
        """
        options: dict[str, Any] = {}
        if limit is not None:
            options["results_per_page"] = min(limit, LARGEST_PAGE)
        found: list[Entity] = []
        what = f"rows of table {self._name!r}"
        async with translated(what, timeout_seconds=QUERY_TIMEOUT_SECONDS):
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


def etag_of(entity: Entity) -> str:
    """The ETag that a row was read at."""
    return str(entity.metadata["etag"])  # type: ignore[attr-defined]  # the SDK's TableEntity


def _operation(write: Write) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A write in the SDK's form."""
    from azure.core import MatchConditions
    from azure.data.tables import UpdateMode

    entity = dict(write.entity)
    if write.insert:
        return "create", entity, dict(_NO_ECHO)
    if write.etag is None:
        return "upsert", entity, {"mode": UpdateMode.REPLACE}
    condition = {"etag": write.etag, "match_condition": MatchConditions.IfNotModified}
    return "update", entity, {"mode": UpdateMode.REPLACE, **condition}
