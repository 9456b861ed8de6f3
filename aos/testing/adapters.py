"""Makes a `World` of adapters in memory, for one instance of an app. Entry point: `make_world`."""

from __future__ import annotations

from aos.adapters.memory import (
    Door,
    MemoryBroker,
    MemoryBus,
    MemoryConversationStore,
    MemoryDecisions,
    MemoryLedger,
    MemoryPendingStore,
    MemoryRequestStore,
    MemoryRunIndex,
    MemoryTables,
    MemoryToolCatalog,
    MemoryToolLedger,
    open_door,
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
    model: ChatModel,
    clock: Clock,
    ids: Ids,
    servers: ToolServers | None = None,
    door: Door = open_door,
) -> World:
    """The adapters of one instance; instances share `tables`, `broker` and the blobs."""
    return World(
        config=config,
        data=data,
        requests=MemoryRequestStore(tables, door=door),
        pending=MemoryPendingStore(tables, door=door),
        conversations=MemoryConversationStore(tables, door=door),
        index=MemoryRunIndex(tables, door=door),
        ledger=MemoryLedger(tables, door=door),
        decisions=MemoryDecisions(tables, door=door),
        tools=MemoryToolCatalog(tables, door=door),
        tool_calls=MemoryToolLedger(tables, door=door),
        bus=MemoryBus(broker, clock=clock, door=door),
        model=model,
        clock=clock,
        ids=ids,
        servers=servers,
    )
