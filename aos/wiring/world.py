"""Holds one adapter for every port. Entry point: `World`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aos.ports.asks import Decisions, Questions
from aos.ports.blobs import BlobStore
from aos.ports.bus import Bus
from aos.ports.cleaning import DueStore, RunCleaner
from aos.ports.conversations import ConversationStore
from aos.ports.dead_letters import DeadLetterQueues, FailureStore
from aos.ports.deletion import Eraser
from aos.ports.depths import QueueDepths
from aos.ports.index import RunIndex
from aos.ports.jobs import JobQueue
from aos.ports.ledger import Ledger
from aos.ports.model import ChatModel
from aos.ports.pushes import PushConfigStore
from aos.ports.requests import PendingStore, RequestStore
from aos.ports.run_events import RunEventStore
from aos.ports.schedules import Watermarks
from aos.ports.servers import ToolServers
from aos.ports.slots import ConversationSlots
from aos.ports.spending import SpendingStore
from aos.ports.system import Clock, Ids
from aos.ports.tools import ToolCatalog, ToolLedger
from aos.ports.usage import UsageReader
from aos.ports.webhooks import WebhookClient
from aos.services.health import Check


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The adapters that an app needs."""

    config: BlobStore
    data: BlobStore
    logs: BlobStore
    requests: RequestStore
    pushes: PushConfigStore
    slots: ConversationSlots
    pending: PendingStore
    conversations: ConversationStore
    run_events: RunEventStore
    index: RunIndex
    ledger: Ledger
    usage: UsageReader
    spending: SpendingStore
    eraser: Eraser
    due: DueStore
    cleaner: RunCleaner
    decisions: Decisions
    questions: Questions
    tools: ToolCatalog
    tool_calls: ToolLedger
    watermarks: Watermarks
    dead_letters: DeadLetterQueues
    failures: FailureStore
    jobs: JobQueue
    bus: Bus
    model: ChatModel
    clock: Clock
    ids: Ids
    servers: ToolServers | None = None
    """The MCP servers of this instance: mcp alone has them."""
    webhooks: WebhookClient | None = None
    """What main sends webhooks with: main alone has it."""
    depths: QueueDepths | None = None
    """The administration interface of the bus; None where there is none."""
    checks: Mapping[str, Check] = field(default_factory=dict)
    """The checks of the app's health, by name."""
