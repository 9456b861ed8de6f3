"""The table stores keep their contract on real tables (Azurite)."""

from __future__ import annotations

import pytest

from aos.adapters.tables import AzureTables
from aos.ports.cleaning import RunCleaner
from aos.ports.conversations import ConversationStore
from aos.ports.dead_letters import FailureStore
from aos.ports.index import RunIndex
from aos.ports.ledger import Ledger
from aos.ports.pushes import PushConfigStore
from aos.ports.requests import PendingStore, RequestStore
from aos.ports.run_events import RunEventStore
from aos.ports.schedules import Watermarks
from aos.ports.slots import ConversationSlots
from aos.ports.spending import SpendingStore
from aos.ports.usage import UsageReader
from tests.contract.conversation_suite import ConversationStoreSuite
from tests.contract.dead_letter_suite import FailureStoreSuite
from tests.contract.list_suites import LedgerSuite, RunIndexSuite, SpendingSuite, UsageSuite
from tests.contract.request_suites import (
    PendingStoreSuite,
    PushConfigStoreSuite,
    RequestStoreSuite,
    SlotsSuite,
)
from tests.contract.run_event_suite import RunEventStoreSuite
from tests.contract.schedule_suite import WatermarksSuite


class TestAzureRequestStore(RequestStoreSuite):
    @pytest.fixture
    def store(self, tables: AzureTables) -> RequestStore:
        return tables.requests()


class TestAzurePendingStore(PendingStoreSuite):
    @pytest.fixture
    def store(self, tables: AzureTables) -> PendingStore:
        return tables.pending()


class TestAzureSlots(SlotsSuite):
    @pytest.fixture
    def slots(self, tables: AzureTables) -> ConversationSlots:
        return tables.slots()


class TestAzurePushConfigs(PushConfigStoreSuite):
    @pytest.fixture
    def pushes(self, tables: AzureTables) -> PushConfigStore:
        return tables.pushes()


class TestAzureConversationStore(ConversationStoreSuite):
    @pytest.fixture
    def store(self, tables: AzureTables) -> ConversationStore:
        return tables.conversations()


class TestAzureRunEventStore(RunEventStoreSuite):
    @pytest.fixture
    def store(self, tables: AzureTables) -> ConversationStore:
        return tables.conversations()

    @pytest.fixture
    def events(self, tables: AzureTables) -> RunEventStore:
        return tables.run_events()


class TestAzureRunIndex(RunIndexSuite):
    @pytest.fixture
    def index(self, tables: AzureTables) -> RunIndex:
        return tables.index()

    @pytest.fixture
    def cleaner(self, tables: AzureTables) -> RunCleaner:
        return tables.cleaner()


class TestAzureSpending(SpendingSuite):
    @pytest.fixture
    def spending(self, tables: AzureTables) -> SpendingStore:
        return tables.spending()


class TestAzureUsage(UsageSuite):
    @pytest.fixture
    def ledger(self, tables: AzureTables) -> Ledger:
        return tables.ledger()

    @pytest.fixture
    def usage(self, tables: AzureTables) -> UsageReader:
        return tables.usage()


class TestAzureLedger(LedgerSuite):
    @pytest.fixture
    def ledger(self, tables: AzureTables) -> Ledger:
        return tables.ledger()


class TestAzureWatermarks(WatermarksSuite):
    @pytest.fixture
    def watermarks(self, tables: AzureTables) -> Watermarks:
        return tables.watermarks()


class TestAzureFailureStore(FailureStoreSuite):
    @pytest.fixture
    def store(self, tables: AzureTables) -> FailureStore:
        return tables.failures()
