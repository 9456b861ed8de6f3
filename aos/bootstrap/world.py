"""Which adapter stands behind each port?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aos.adapters.blobs import AzureBlobs, BlobAccount
from aos.adapters.bus.service_bus import AzureBus, BusAccount
from aos.adapters.model.openai_chat import ModelEndpoint, OpenAIChatModel
from aos.adapters.system import RandomIds, SystemClock
from aos.adapters.tables import AzureTables, TableAccount
from aos.domain.envelope import (
    AGENT_EVENTS,
    MAIN_QUEUE,
    REALM_QUEUE,
    RESPONSES_QUEUE,
)
from aos.ports.blobs import BlobMissing, BlobStore
from aos.ports.bus import Bus
from aos.ports.conversations import ConversationStore
from aos.ports.index import RunIndex
from aos.ports.ledger import Ledger
from aos.ports.model import ChatModel
from aos.ports.requests import PendingStore, RequestStore
from aos.ports.system import Clock, Ids
from aos.ports.tools import Decisions, ToolCatalog, ToolLedger
from aos.services.catalog.layout import HEAD
from aos.services.health import Check
from aos.settings import Settings


async def _nothing() -> None:
    """A world that has nothing to open ahead of time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One adapter for every port. `warm` opens what is slow to open; `checks` are health's."""

    config: BlobStore
    data: BlobStore
    requests: RequestStore
    pending: PendingStore
    conversations: ConversationStore
    index: RunIndex
    ledger: Ledger
    decisions: Decisions
    tools: ToolCatalog
    tool_calls: ToolLedger
    bus: Bus
    model: ChatModel
    clock: Clock
    ids: Ids
    checks: Mapping[str, Check] = field(default_factory=dict)
    warm: Callable[[], Awaitable[None]] = _nothing


SENDS_TO: Mapping[str, tuple[str, ...]] = {
    "main": (REALM_QUEUE, RESPONSES_QUEUE, AGENT_EVENTS),
    "realm": (MAIN_QUEUE, REALM_QUEUE),
    "mcp": (REALM_QUEUE,),
}
"""The entities that each app sends to all the time: opened ahead of time."""

HEALTH_TABLE: Mapping[str, str] = {"main": "aosruns", "realm": "aosruns", "mcp": "aostools"}
"""The table that each app's health reads: mcp may read its own two alone."""


def azure_world(settings: Settings, *, app: str) -> World:
    """The real adapters. Nothing is opened and no SDK is imported by making them."""
    blobs = _blobs(settings)
    data = blobs.container("aos-data")
    tables = _tables(settings, payloads=data)
    bus = _bus(settings, payloads=data)
    model = _model(settings)

    async def warm() -> None:
        opening = [bus.warm(SENDS_TO[app])]
        if app == "realm":
            opening.append(model.warm())
        await asyncio.gather(*opening)

    async def storage() -> None:
        await asyncio.gather(tables.check(HEALTH_TABLE[app]), _look_at(data))

    return World(
        config=blobs.container("aos-config"),
        data=data,
        requests=tables.requests(),
        pending=tables.pending(),
        conversations=tables.conversations(),
        index=tables.index(),
        ledger=tables.ledger(),
        decisions=tables.decisions(),
        tools=tables.tools(),
        tool_calls=tables.tool_calls(),
        bus=bus,
        model=model,
        clock=SystemClock(),
        ids=RandomIds(),
        checks={"servicebus": bus.check, "storage": storage},
        warm=warm,
    )


async def _look_at(data: BlobStore) -> None:
    """One small read; that there is nothing published yet is no fault."""
    with contextlib.suppress(BlobMissing):
        await data.read(HEAD, max_bytes=1)


def _blobs(settings: Settings) -> AzureBlobs:
    storage = settings.storage
    return AzureBlobs(
        BlobAccount(
            connection_string=storage.connection_string,
            account_name=storage.account_name,
            service_url=storage.blob_service_url,
            client_id=storage.client_id,
        )
    )


def _tables(settings: Settings, *, payloads: BlobStore) -> AzureTables:
    storage = settings.storage
    account = TableAccount(
        connection_string=storage.connection_string,
        account_name=storage.account_name,
        service_url=storage.table_service_url,
        client_id=storage.client_id,
    )
    return AzureTables(account, payloads=payloads)


def _bus(settings: Settings, *, payloads: BlobStore) -> AzureBus:
    bus = settings.bus
    return AzureBus(
        BusAccount(
            connection_string=bus.connection_string,
            namespace=bus.namespace,
            client_id=bus.client_id,
        ),
        payloads=payloads,
    )


def _model(settings: Settings) -> OpenAIChatModel:
    model = settings.model
    return OpenAIChatModel(
        ModelEndpoint(
            base_url=model.endpoint,
            model=model.model,
            api_key=model.api_key,
            client_id=model.client_id,
        )
    )
