"""Makes a `World` of adapters in memory, for one instance of an app. Entry point: `make_world`."""

from __future__ import annotations

from aos.adapters.memory import (
    Interceptor,
    MemoryBroker,
    MemoryBus,
    MemoryConversationStore,
    MemoryDeadLetters,
    MemoryDecisions,
    MemoryDueStore,
    MemoryEraser,
    MemoryFailureStore,
    MemoryJobQueue,
    MemoryLedger,
    MemoryPendingStore,
    MemoryPushConfigs,
    MemoryQuestions,
    MemoryRequestStore,
    MemoryRunCleaner,
    MemoryRunEventStore,
    MemoryRunIndex,
    MemorySlots,
    MemorySpendingStore,
    MemoryTables,
    MemoryToolCatalog,
    MemoryToolLedger,
    MemoryUsage,
    MemoryWatermarks,
    MemoryWebhooks,
    WebhookReceivers,
    pass_through,
)
from aos.ports.blobs import BlobStore
from aos.ports.model import ChatModel
from aos.ports.servers import ToolServers
from aos.ports.system import Clock, Ids
from aos.wiring.world import World


def make_world(
    *,
    tables: MemoryTables,
    broker: MemoryBroker,
    config: BlobStore,
    data: BlobStore,
    logs: BlobStore,
    model: ChatModel,
    clock: Clock,
    ids: Ids,
    servers: ToolServers | None = None,
    receivers: WebhookReceivers | None = None,
    intercept: Interceptor = pass_through,
) -> World:
    """Make the adapters of one instance. Instances share `tables`, `broker` and the blobs."""
    bus = MemoryBus(broker, clock=clock, intercept=intercept)
    return World(
        config=config,
        data=data,
        logs=logs,
        due=MemoryDueStore(tables, intercept=intercept),
        cleaner=MemoryRunCleaner(tables, intercept=intercept),
        eraser=MemoryEraser(tables, logs=logs, intercept=intercept),
        requests=MemoryRequestStore(tables, intercept=intercept),
        pushes=MemoryPushConfigs(tables, intercept=intercept),
        slots=MemorySlots(tables, intercept=intercept),
        pending=MemoryPendingStore(tables, intercept=intercept),
        conversations=MemoryConversationStore(tables, intercept=intercept),
        run_events=MemoryRunEventStore(tables, intercept=intercept),
        index=MemoryRunIndex(tables, intercept=intercept),
        ledger=MemoryLedger(tables, intercept=intercept),
        usage=MemoryUsage(tables, intercept=intercept),
        spending=MemorySpendingStore(tables, intercept=intercept),
        decisions=MemoryDecisions(tables, intercept=intercept),
        questions=MemoryQuestions(tables, intercept=intercept),
        tools=MemoryToolCatalog(tables, intercept=intercept),
        tool_calls=MemoryToolLedger(tables, intercept=intercept),
        watermarks=MemoryWatermarks(tables, intercept=intercept),
        dead_letters=MemoryDeadLetters(broker, bus=bus, intercept=intercept),
        failures=MemoryFailureStore(tables, intercept=intercept),
        jobs=MemoryJobQueue(broker, intercept=intercept),
        bus=bus,
        model=model,
        clock=clock,
        ids=ids,
        servers=servers,
        webhooks=MemoryWebhooks(receivers or WebhookReceivers(), intercept=intercept),
    )
