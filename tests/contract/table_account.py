"""How do tests open the table stores of an account?

`opened` gives stores whose large texts are in memory, `with_payloads` ones whose texts are where
the test says; `table_at` gives one table; `rows_of` and `set_row` look past the adapter, with the
SDK alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from azure.data.tables import TableServiceClient

from aos.adapters.memory.blobs import MemoryBlobStore
from aos.adapters.tables import AzureTables, TableAccount
from aos.adapters.tables.account import Table, TableClients
from aos.ports.blobs import BlobStore
from tests.contract.azurite import ACCOUNT, ACCOUNT_KEY, Azurite
from tests.samples import NOON


class StoppedClock:
    """It is always noon."""

    def now(self) -> datetime:
        return NOON

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        return None


def connection_to(table_url: str) -> str:
    """The connection string of a table endpoint."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
        f"TableEndpoint={table_url};"
    )


@contextlib.asynccontextmanager
async def with_payloads(table_url: str, payloads: BlobStore) -> AsyncIterator[AzureTables]:
    """The stores of an endpoint, with their large texts in `payloads`; closed at the end."""
    tables = AzureTables(
        TableAccount(connection_string=connection_to(table_url)), payloads=payloads
    )
    try:
        yield tables
    finally:
        await tables.close()


@contextlib.asynccontextmanager
async def opened(table_url: str) -> AsyncIterator[AzureTables]:
    """The stores of an endpoint, with large texts of their own in memory."""
    async with with_payloads(table_url, MemoryBlobStore(clock=StoppedClock())) as tables:
        yield tables


@contextlib.asynccontextmanager
async def table_at(table_url: str, name: str = "aosruns") -> AsyncIterator[Table]:
    """One table of an endpoint; closed at the end."""
    clients = TableClients(TableAccount(connection_string=connection_to(table_url)))
    try:
        yield Table(clients, name)
    finally:
        await clients.close()


def rows_of(provisioned: Azurite, table: str, condition: str) -> list[dict[str, Any]]:
    """The rows of a table for which an OData condition holds."""
    with (
        TableServiceClient.from_connection_string(provisioned.connection_string) as service,
        service.get_table_client(table) as client,
    ):
        return [dict(row) for row in client.query_entities(condition)]


def set_row(provisioned: Azurite, table: str, row: dict[str, Any]) -> None:
    """Set these properties of a row, as another version of AOS might have."""
    with (
        TableServiceClient.from_connection_string(provisioned.connection_string) as service,
        service.get_table_client(table) as client,
    ):
        client.upsert_entity(row)
