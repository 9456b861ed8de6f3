"""The fakes of the storage and bus ports keep the contract that the real adapters keep."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from aos.adapters.memory import (
    MemoryBroker,
    MemoryBus,
    MemoryConversationStore,
    MemoryLedger,
    MemoryPendingStore,
    MemoryRequestStore,
    MemoryRunIndex,
    MemoryTables,
)
from aos.ports.bus import Bus, ReceivedMessage
from aos.ports.conversations import ConversationStore
from aos.ports.index import RunIndex
from aos.ports.ledger import Ledger
from aos.ports.requests import PendingStore, RequestStore
from tests.contract.bus_suite import BusProbe, BusSuite
from tests.contract.conversation_suite import ConversationStoreSuite
from tests.contract.list_suites import LedgerSuite, RunIndexSuite
from tests.contract.request_suites import PendingStoreSuite, RequestStoreSuite


class TestMemoryRequestStore(RequestStoreSuite):
    @pytest.fixture
    def store(self) -> RequestStore:
        return MemoryRequestStore(MemoryTables())


class TestMemoryPendingStore(PendingStoreSuite):
    @pytest.fixture
    def store(self) -> PendingStore:
        return MemoryPendingStore(MemoryTables())


class TestMemoryConversationStore(ConversationStoreSuite):
    @pytest.fixture
    def store(self) -> ConversationStore:
        return MemoryConversationStore(MemoryTables())


class TestMemoryRunIndex(RunIndexSuite):
    @pytest.fixture
    def index(self) -> RunIndex:
        return MemoryRunIndex(MemoryTables())


class TestMemoryLedger(LedgerSuite):
    @pytest.fixture
    def ledger(self) -> Ledger:
        return MemoryLedger(MemoryTables())


class _RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Probe:
    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def take(
        self, entity: str, *, session_id: str | None = None, seconds: float = 5.0
    ) -> ReceivedMessage | None:
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            got = self._take(entity) if session_id is None else self._take_in(entity)
            if got is not None:
                return got
            await asyncio.sleep(0.02)
        return None

    def _take(self, entity: str) -> ReceivedMessage | None:
        kept = self._broker.receive(entity)
        if kept is None:
            return None
        got = kept.build_received()
        assert kept.lock is not None
        self._broker.complete(kept, kept.lock)
        return got

    def _take_in(self, entity: str) -> ReceivedMessage | None:
        session = self._broker.accept_session(entity)
        if session is None:
            return None
        kept = self._broker.receive_in(session)
        assert kept is not None
        assert kept.lock is not None
        got = kept.build_received()
        self._broker.complete(kept, kept.lock)
        self._broker.release(session)
        return got


class TestMemoryBus(BusSuite):
    @pytest.fixture
    def broker(self) -> MemoryBroker:
        return MemoryBroker(clock=_RealClock())

    @pytest.fixture
    def bus(self, broker: MemoryBroker) -> Bus:
        return MemoryBus(broker, clock=_RealClock())

    @pytest.fixture
    def probe(self, broker: MemoryBroker) -> BusProbe:
        return _Probe(broker)
