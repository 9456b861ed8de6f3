"""The stores of tool calls and of listed tools keep their contract, in memory and on Azurite."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from aos.adapters.blobs import AzureBlobs, BlobAccount
from aos.adapters.memory import MemoryTables, MemoryToolCatalog, MemoryToolLedger
from aos.adapters.tables import AzureTables, TableAccount
from aos.ports.tools import ToolCatalog, ToolLedger
from devhost.provision import create_storage
from tests.contract.azurite import Azurite
from tests.contract.tool_suites import ToolCatalogSuite, ToolLedgerSuite


@pytest.fixture(scope="module")
def provisioned(azurite: Azurite) -> Azurite:
    create_storage(azurite.connection_string)
    return azurite


@pytest_asyncio.fixture
async def tables(provisioned: Azurite) -> AsyncIterator[AzureTables]:
    blobs = AzureBlobs(BlobAccount(connection_string=provisioned.connection_string))
    account = TableAccount(connection_string=provisioned.connection_string)
    opened = AzureTables(account, payloads=blobs.container("aos-data"))
    yield opened
    await opened.close()
    await blobs.close()


class TestMemoryToolLedger(ToolLedgerSuite):
    @pytest.fixture
    def ledger(self) -> ToolLedger:
        return MemoryToolLedger(MemoryTables())


class TestAzureToolLedger(ToolLedgerSuite):
    @pytest.fixture
    def ledger(self, tables: AzureTables) -> ToolLedger:
        return tables.tool_calls()


class TestMemoryToolCatalog(ToolCatalogSuite):
    @pytest.fixture
    def catalog(self) -> ToolCatalog:
        return MemoryToolCatalog(MemoryTables())


class TestAzureToolCatalog(ToolCatalogSuite):
    @pytest.fixture
    def catalog(self, tables: AzureTables) -> ToolCatalog:
        return tables.tools()
