"""Fixtures of the contract tests: the same suite on fakes and on real parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from aos.adapters.blobs import AzureBlobs, BlobAccount
from aos.adapters.tables import AzureTables, account
from aos.adapters.tables.account import Entity, TableClients, Write
from aos.domain.row_kinds import find_row_kind
from devhost.provision import create_storage
from tests.contract.azurite import Azurite, azurite
from tests.contract.table_account import with_payloads

__all__ = ["azurite"]


class DeclaredRows(account.Table):
    """A table that takes no row of a kind that is not declared."""

    def __init__(self, clients: TableClients, name: str) -> None:
        super().__init__(clients, name)
        self.name = name

    def check(self, entity: Entity) -> None:
        """Raise KeyError for a row of no declared kind."""
        if self.name.startswith("aos"):
            find_row_kind(self.name, entity["PartitionKey"], entity["RowKey"])

    async def insert(self, entity: Entity) -> str:
        self.check(entity)
        return await super().insert(entity)

    async def put(self, entity: Entity) -> str:
        self.check(entity)
        return await super().put(entity)

    async def transact(self, writes: Sequence[Write]) -> list[str]:
        for write in writes:
            self.check(write.entity)
        return await super().transact(writes)


@pytest.fixture(scope="module")
def provisioned(azurite: Azurite) -> Azurite:
    """Azurite with the containers, tables and queues of AOS."""
    create_storage(azurite.connection_string)
    return azurite


@pytest.fixture
async def tables(provisioned: Azurite) -> AsyncIterator[AzureTables]:
    """The stores, with their large texts in blobs."""
    blobs = AzureBlobs(BlobAccount(connection_string=provisioned.connection_string))
    async with with_payloads(provisioned.table_url, blobs.container("aos-data")) as opened:
        yield opened
    await blobs.close()


@pytest.fixture(autouse=True)
def declared_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row that a store writes in these tests is of a declared kind."""
    monkeypatch.setattr("aos.adapters.tables.azure.Table", DeclaredRows)
