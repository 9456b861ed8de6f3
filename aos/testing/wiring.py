"""Which services make the three apps, when all that they need is in memory?"""

from __future__ import annotations

import random

from aos.adapters.memory import (
    ManualClock,
    MemoryBroker,
    MemoryBus,
    MemoryConversationStore,
    MemoryDecisions,
    MemoryLedger,
    MemoryPendingStore,
    MemoryRequestStore,
    MemoryRunIndex,
    MemoryServers,
    MemoryTables,
    MemoryTelemetry,
    MemoryToolCatalog,
    MemoryToolLedger,
    MemoryToolServers,
    SeededIds,
)
from aos.adapters.memory.blobs import MemoryBlobStore
from aos.domain.cards.policy import CardPolicy
from aos.ports.model import ChatModel
from aos.services.admission import Admissions, Delegations
from aos.services.approvals import Approvals
from aos.services.catalog.publisher import CatalogPublisher
from aos.services.catalog.reader import CatalogReader
from aos.services.execution import Execution, ToolOffers, TurnLimits, Turns
from aos.services.mending import Mender
from aos.services.replies import Replies
from aos.services.runs import RunReader
from aos.services.tool_calls import ToolCalls, ToolListing
from aos.testing.model import ScriptedModel


class WiredServices:
    """The real services of main, realm and mcp on one in-memory world."""

    def __init__(self, *, model: ChatModel | None = None, seed: int = 1) -> None:
        self.model = model or ScriptedModel()
        self.clock = ManualClock()
        self.ids = SeededIds(random.Random(seed))
        self.telemetry = MemoryTelemetry()
        self.tables = MemoryTables()
        self.broker = MemoryBroker(clock=self.clock)
        self.config = MemoryBlobStore(clock=self.clock)
        self.data = MemoryBlobStore(clock=self.clock)
        self.bus = MemoryBus(self.broker, clock=self.clock)
        self.requests = MemoryRequestStore(self.tables)
        self.pending = MemoryPendingStore(self.tables)
        self.conversations = MemoryConversationStore(self.tables)
        self.index = MemoryRunIndex(self.tables)
        self.decisions = MemoryDecisions(self.tables)
        self.tools = MemoryToolCatalog(self.tables)
        self.agents = CatalogReader(self.data, self.clock, check_every_seconds=0.0)
        self.servers = MemoryServers()
        self._wire_main()
        self._wire_mcp()
        self.execution = Execution(
            conversations=self.conversations,
            requests=self.requests,
            agents=self.agents,
            decisions=self.decisions,
            turns=Turns(
                model=self.model,
                conversations=self.conversations,
                requests=self.requests,
                offers=ToolOffers(tools=self.tools, agents=self.agents, clock=self.clock),
                clock=self.clock,
                ids=self.ids,
                telemetry=self.telemetry,
                limits=TurnLimits(),
            ),
            bus=self.bus,
            clock=self.clock,
            ids=self.ids,
        )

    def _wire_main(self) -> None:
        self.replies_service = Replies(
            ledger=MemoryLedger(self.tables),
            index=self.index,
            pending=self.pending,
            bus=self.bus,
            clock=self.clock,
            telemetry=self.telemetry,
        )
        self.run_reader = RunReader(
            requests=self.requests,
            conversations=self.conversations,
            index=self.index,
            clock=self.clock,
        )
        self.admissions = Admissions(
            runs=self.run_reader,
            requests=self.requests,
            pending=self.pending,
            conversations=self.conversations,
            index=self.index,
            agents=self.agents,
            model=self.model,
            bus=self.bus,
            clock=self.clock,
            ids=self.ids,
            telemetry=self.telemetry,
        )
        self.delegations = Delegations(
            self.admissions, runs=self.run_reader, requests=self.requests, bus=self.bus
        )
        self.approvals = Approvals(
            decisions=self.decisions,
            runs=self.run_reader,
            pending=self.pending,
            bus=self.bus,
            clock=self.clock,
            ids=self.ids,
        )
        self.mender = Mender(
            requests=self.requests,
            pending=self.pending,
            conversations=self.conversations,
            index=self.index,
            deliver=self.replies_service.deliver,
            bus=self.bus,
            clock=self.clock,
            telemetry=self.telemetry,
        )
        self.publisher = CatalogPublisher(
            config=self.config, data=self.data, clock=self.clock, policy=CardPolicy()
        )

    def _wire_mcp(self) -> None:
        running = MemoryToolServers(self.servers)
        self.listing = ToolListing(
            cards=self.agents,
            catalog=self.tools,
            servers=running,
            clock=self.clock,
            telemetry=self.telemetry,
            instance="memory",
        )
        self.tool_calls = ToolCalls(
            ledger=MemoryToolLedger(self.tables),
            catalog=self.tools,
            cards=self.agents,
            servers=running,
            bus=self.bus,
            clock=self.clock,
            ids=self.ids,
            telemetry=self.telemetry,
        )
