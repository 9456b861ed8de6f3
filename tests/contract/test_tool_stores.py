"""The stores of tool calls and of listed tools keep their contract, in memory and on Azurite."""

from __future__ import annotations

import pytest

from aos.adapters.memory import MemoryTables, MemoryToolCatalog, MemoryToolLedger
from aos.adapters.tables import AzureTables
from aos.ports.tools import ToolCatalog, ToolLedger
from tests.contract.tool_suites import ToolCatalogSuite, ToolLedgerSuite


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
