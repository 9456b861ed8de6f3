"""The fakes of the storage and bus ports keep the contract that the real adapters keep."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from aos.adapters.memory import (
    ManualClock,
    MemoryBroker,
    MemoryBus,
    MemoryConversationStore,
    MemoryDeadLetters,
    MemoryFailureStore,
    MemoryLedger,
    MemoryPendingStore,
    MemoryPushConfigs,
    MemoryRequestStore,
    MemoryRunCleaner,
    MemoryRunEventStore,
    MemoryRunIndex,
    MemorySlots,
    MemorySpendingStore,
    MemoryTables,
    MemoryUsage,
    MemoryWatermarks,
)
from aos.adapters.system import SystemClock
from aos.ports.bus import Bus, ReceivedMessage
from aos.ports.cleaning import RunCleaner
from aos.ports.conversations import ConversationStore
from aos.ports.dead_letters import DeadLetterQueues, FailureStore
from aos.ports.index import RunIndex
from aos.ports.ledger import Ledger
from aos.ports.pushes import PushConfigStore
from aos.ports.requests import PendingStore, RequestStore
from aos.ports.run_events import RunEventStore
from aos.ports.schedules import Watermarks
from aos.ports.slots import ConversationSlots
from aos.ports.spending import SpendingStore
from aos.ports.usage import UsageReader
from tests.contract.bus_suite import BusProbe, BusSuite
from tests.contract.conversation_suite import ConversationStoreSuite
from tests.contract.dead_letter_suite import DeadLetterSuite, FailureStoreSuite, Undertaker
from tests.contract.list_suites import LedgerSuite, RunIndexSuite, SpendingSuite, UsageSuite
from tests.contract.request_suites import (
    PendingStoreSuite,
    PushConfigStoreSuite,
    RequestStoreSuite,
    SlotsSuite,
)
from tests.contract.run_event_suite import RunEventStoreSuite
from tests.contract.schedule_suite import WatermarksSuite


class TestMemoryRequestStore(RequestStoreSuite):
    @pytest.fixture
    def store(self) -> RequestStore:
        return MemoryRequestStore(MemoryTables())


class TestMemoryPendingStore(PendingStoreSuite):
    @pytest.fixture
    def store(self) -> PendingStore:
        return MemoryPendingStore(MemoryTables())


class TestMemorySlots(SlotsSuite):
    @pytest.fixture
    def slots(self) -> ConversationSlots:
        return MemorySlots(MemoryTables())


class TestMemoryPushConfigs(PushConfigStoreSuite):
    @pytest.fixture
    def pushes(self) -> PushConfigStore:
        return MemoryPushConfigs(MemoryTables())


class TestMemoryConversationStore(ConversationStoreSuite):
    @pytest.fixture
    def store(self) -> ConversationStore:
        return MemoryConversationStore(MemoryTables())


class TestMemoryRunEventStore(RunEventStoreSuite):
    @pytest.fixture
    def tables(self) -> MemoryTables:
        return MemoryTables()

    @pytest.fixture
    def store(self, tables: MemoryTables) -> ConversationStore:
        return MemoryConversationStore(tables)

    @pytest.fixture
    def events(self, tables: MemoryTables) -> RunEventStore:
        return MemoryRunEventStore(tables)


class TestMemoryRunIndex(RunIndexSuite):
    @pytest.fixture
    def tables(self) -> MemoryTables:
        return MemoryTables()

    @pytest.fixture
    def index(self, tables: MemoryTables) -> RunIndex:
        return MemoryRunIndex(tables)

    @pytest.fixture
    def cleaner(self, tables: MemoryTables) -> RunCleaner:
        return MemoryRunCleaner(tables)


class TestMemorySpending(SpendingSuite):
    @pytest.fixture
    def spending(self) -> SpendingStore:
        return MemorySpendingStore(MemoryTables())


class TestMemoryUsage(UsageSuite):
    @pytest.fixture
    def tables(self) -> MemoryTables:
        return MemoryTables()

    @pytest.fixture
    def ledger(self, tables: MemoryTables) -> Ledger:
        return MemoryLedger(tables)

    @pytest.fixture
    def usage(self, tables: MemoryTables) -> UsageReader:
        return MemoryUsage(tables)


class TestMemoryLedger(LedgerSuite):
    @pytest.fixture
    def ledger(self) -> Ledger:
        return MemoryLedger(MemoryTables())


class TestMemoryWatermarks(WatermarksSuite):
    @pytest.fixture
    def watermarks(self) -> Watermarks:
        return MemoryWatermarks(MemoryTables())


class _Probe:
    """Takes messages; while it waits, the clock goes on."""

    def __init__(self, broker: MemoryBroker, clock: ManualClock) -> None:
        self._broker = broker
        self._clock = clock

    async def take(
        self, entity: str, *, session_id: str | None = None, seconds: float = 5.0
    ) -> ReceivedMessage | None:
        deadline = self._clock.monotonic() + seconds
        while self._clock.monotonic() < deadline:
            got = self._take(entity) if session_id is None else self._take_in(entity)
            if got is not None:
                return got
            self._clock.advance(0.02)
            await asyncio.sleep(0)
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
    def clock(self) -> ManualClock:
        return ManualClock(start=datetime.now(UTC))

    @pytest.fixture
    def broker(self, clock: ManualClock) -> MemoryBroker:
        return MemoryBroker(clock=clock)

    @pytest.fixture
    def bus(self, broker: MemoryBroker, clock: ManualClock) -> Bus:
        return MemoryBus(broker, clock=clock)

    @pytest.fixture
    def probe(self, broker: MemoryBroker, clock: ManualClock) -> BusProbe:
        return _Probe(broker, clock)


class _Undertaker:
    """Makes dead letters in the broker in memory."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def send(self, entity: str, body: bytes, **given: Any) -> None:
        properties = given.get("properties", {})
        self._broker.send(entity, body, traceparent=properties.get("traceparent"), **given)

    async def bury(self, entity: str, message_id: str, *, session_id: str | None = None) -> None:
        queue = entity.partition("/")[0]
        while message_id not in [kept.message_id for kept in self._broker.dead_letters(queue)]:
            session = None if session_id is None else self._broker.accept_session(queue)
            taken = self._broker.receive_in(session) if session else self._broker.receive(queue)
            assert taken is not None
            assert taken.lock is not None
            self._broker.abandon(taken, taken.lock)
            if session is not None:
                self._broker.release(session)


class TestMemoryDeadLetters(DeadLetterSuite):
    @pytest.fixture
    def broker(self) -> MemoryBroker:
        return MemoryBroker(clock=SystemClock())

    @pytest.fixture
    def bus(self, broker: MemoryBroker) -> MemoryBus:
        return MemoryBus(broker, clock=SystemClock())

    @pytest.fixture
    def queues(self, broker: MemoryBroker, bus: MemoryBus) -> DeadLetterQueues:
        return MemoryDeadLetters(broker, bus=bus)

    @pytest.fixture
    def probe(self, broker: MemoryBroker) -> BusProbe:
        return _Probe(broker, ManualClock(start=datetime.now(UTC)))

    @pytest.fixture
    def undertaker(self, broker: MemoryBroker) -> Undertaker:
        return _Undertaker(broker)


class TestMemoryFailureStore(FailureStoreSuite):
    @pytest.fixture
    def store(self) -> FailureStore:
        return MemoryFailureStore(MemoryTables())
