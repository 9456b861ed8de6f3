"""Keeps everything in memory: a fake of each port for tests and the simulation. Entry points:
`tables.MemoryTables`, `broker.MemoryBroker`.

The fakes pass the same contract tests as the real adapters. Any number of app instances can share
their rows and queues.
"""

from aos.adapters.memory.asks import MemoryDecisions, MemoryQuestions
from aos.adapters.memory.broker import MemoryBroker
from aos.adapters.memory.bus import MemoryBus
from aos.adapters.memory.cleaning import MemoryDueStore, MemoryRunCleaner
from aos.adapters.memory.clock import ManualClock, MemorySpan, MemoryTelemetry, SeededIds
from aos.adapters.memory.dead_letters import MemoryDeadLetters, MemoryFailureStore
from aos.adapters.memory.entities import EntityRules, Kept, Session
from aos.adapters.memory.eraser import MemoryEraser
from aos.adapters.memory.interception import Interceptor, pass_through
from aos.adapters.memory.job_queue import MemoryJobQueue
from aos.adapters.memory.lists import MemoryLedger, MemoryRunIndex, MemoryUsage
from aos.adapters.memory.pushes import MemoryPushConfigs
from aos.adapters.memory.run_events import MemoryRunEventStore
from aos.adapters.memory.schedules import MemoryWatermarks
from aos.adapters.memory.slots import MemorySlots
from aos.adapters.memory.spending import MemorySpendingStore
from aos.adapters.memory.tables import (
    ConversationRows,
    DayUsage,
    MemoryConversationStore,
    MemoryPendingStore,
    MemoryRequestStore,
    MemoryTables,
)
from aos.adapters.memory.tools import (
    CalledTool,
    MemorySecrets,
    MemoryServers,
    MemoryToolCatalog,
    MemoryToolLedger,
    MemoryToolServers,
)
from aos.adapters.memory.webhooks import MemoryWebhooks, SentWebhook, WebhookReceivers

__all__ = [
    "CalledTool",
    "ConversationRows",
    "DayUsage",
    "EntityRules",
    "Interceptor",
    "Kept",
    "ManualClock",
    "MemoryBroker",
    "MemoryBus",
    "MemoryConversationStore",
    "MemoryDeadLetters",
    "MemoryDecisions",
    "MemoryDueStore",
    "MemoryEraser",
    "MemoryFailureStore",
    "MemoryJobQueue",
    "MemoryLedger",
    "MemoryPendingStore",
    "MemoryPushConfigs",
    "MemoryQuestions",
    "MemoryRequestStore",
    "MemoryRunCleaner",
    "MemoryRunEventStore",
    "MemoryRunIndex",
    "MemorySecrets",
    "MemoryServers",
    "MemorySlots",
    "MemorySpan",
    "MemorySpendingStore",
    "MemoryTables",
    "MemoryTelemetry",
    "MemoryToolCatalog",
    "MemoryToolLedger",
    "MemoryToolServers",
    "MemoryUsage",
    "MemoryWatermarks",
    "MemoryWebhooks",
    "SeededIds",
    "SentWebhook",
    "Session",
    "WebhookReceivers",
    "pass_through",
]
