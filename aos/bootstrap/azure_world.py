"""Makes the adapters for Azure, or for its local replacements on a laptop. Entry point:
`AzureAdapters`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from aos.adapters.blobs import AzureBlobs, BlobAccount
from aos.adapters.bus.client import BusAccount
from aos.adapters.bus.dead_letters import AzureDeadLetters
from aos.adapters.bus.depths import AzureDepths
from aos.adapters.bus.service_bus import AzureBus
from aos.adapters.dead_letters import AllDeadLetters
from aos.adapters.job_queue import AzureJobQueue
from aos.adapters.model.endpoint import ModelEndpoint
from aos.adapters.model.openai_chat import OpenAIChatModel
from aos.adapters.poison_queue import AzurePoisonQueue
from aos.adapters.storage_queues import QueueAccount
from aos.adapters.system import RandomIds, SystemClock
from aos.adapters.tables import AzureTables, TableAccount
from aos.adapters.webhooks import HttpWebhooks
from aos.domain.envelope import (
    AGENT_EVENTS,
    MAIN_QUEUE,
    REALM_QUEUE,
    RESPONSES_QUEUE,
)
from aos.ports.blobs import BlobMissing, BlobStore
from aos.ports.servers import ToolServers
from aos.services.catalog.storage import HEAD
from aos.settings import Settings
from aos.wiring.every_app import AppName
from aos.wiring.world import World

SENDS_TO: Mapping[AppName, tuple[str, ...]] = {
    "main": (REALM_QUEUE, RESPONSES_QUEUE, AGENT_EVENTS),
    "realm": (MAIN_QUEUE, REALM_QUEUE),
    "mcp": (REALM_QUEUE,),
}
"""The entities that each app sends to often. Their senders are opened in advance."""

HEALTH_TABLE: Mapping[AppName, str] = {"main": "aosruns", "realm": "aosruns", "mcp": "aostools"}
"""The table that each app's health check reads. mcp may read only its own two tables."""


class AzureAdapters:
    """The adapters of one app, in `world`. Making them opens no connection."""

    def __init__(self, settings: Settings, *, app: AppName) -> None:
        blobs = _make_blobs(settings)
        self._app = app
        self._data = blobs.container("aos-data")
        self._make_tables = _make_tables(settings, payloads=self._data)
        self._make_bus = _make_bus(settings, payloads=self._data)
        self._make_model = _make_model(settings)
        self.world = World(
            config=blobs.container("aos-config"),
            data=self._data,
            requests=self._make_tables.requests(),
            pushes=self._make_tables.pushes(),
            slots=self._make_tables.slots(),
            pending=self._make_tables.pending(),
            conversations=self._make_tables.conversations(),
            run_events=self._make_tables.run_events(),
            index=self._make_tables.index(),
            ledger=self._make_tables.ledger(),
            usage=self._make_tables.usage(),
            spending=self._make_tables.spending(),
            due=self._make_tables.due(),
            cleaner=self._make_tables.cleaner(),
            logs=blobs.container("aos-logs"),
            eraser=self._make_tables.eraser(logs=blobs.container("aos-logs")),
            decisions=self._make_tables.decisions(),
            questions=self._make_tables.questions(),
            tools=self._make_tables.tools(),
            tool_calls=self._make_tables.tool_calls(),
            watermarks=self._make_tables.watermarks(),
            dead_letters=AllDeadLetters(
                bus=AzureDeadLetters(_make_bus_account(settings), send=self._make_bus.send_message),
                jobs=AzurePoisonQueue(_make_queue_account(settings)),
            ),
            failures=self._make_tables.failures(),
            jobs=AzureJobQueue(_make_queue_account(settings)),
            bus=self._make_bus,
            model=self._make_model,
            clock=SystemClock(),
            ids=RandomIds(),
            servers=_make_servers(settings) if app == "mcp" else None,
            webhooks=HttpWebhooks(listed_hosts=settings.webhooks.hosts) if app == "main" else None,
            depths=_make_depths(settings),
            checks={"servicebus": self._make_bus.check, "storage": self._check_storage},
        )

    async def open(self) -> None:
        """Open the connections that open slowly."""
        opening = [self._make_bus.warm(SENDS_TO[self._app])]
        if self._app == "realm":
            opening.append(self._make_model.warm())
        await asyncio.gather(*opening)

    async def _check_storage(self) -> None:
        table = HEALTH_TABLE[self._app]
        await asyncio.gather(self._make_tables.check(table), _look_at(self._data))


def _make_servers(settings: Settings) -> ToolServers:
    # the other two apps do not need this import
    from aos.bootstrap.mcp_servers import make_mcp_servers

    return make_mcp_servers(settings)


async def _look_at(data: BlobStore) -> None:
    """Read one byte of the catalog's head. A catalog that does not exist is not a fault."""
    with contextlib.suppress(BlobMissing):
        await data.read(HEAD, max_bytes=1)


def _make_blobs(settings: Settings) -> AzureBlobs:
    storage = settings.storage
    return AzureBlobs(
        BlobAccount(
            connection_string=storage.connection_string,
            account_name=storage.account_name,
            service_url=storage.blob_service_url,
            client_id=storage.client_id,
        )
    )


def _make_tables(settings: Settings, *, payloads: BlobStore) -> AzureTables:
    storage = settings.storage
    account = TableAccount(
        connection_string=storage.connection_string,
        account_name=storage.account_name,
        service_url=storage.table_service_url,
        client_id=storage.client_id,
    )
    return AzureTables(account, payloads=payloads)


def _make_bus(settings: Settings, *, payloads: BlobStore) -> AzureBus:
    return AzureBus(_make_bus_account(settings), payloads=payloads)


def _make_bus_account(settings: Settings) -> BusAccount:
    bus = settings.bus
    return BusAccount(
        connection_string=bus.connection_string,
        namespace=bus.namespace,
        client_id=bus.client_id,
    )


def _make_queue_account(settings: Settings) -> QueueAccount:
    storage = settings.storage
    return QueueAccount(
        connection_string=storage.connection_string,
        account_name=storage.account_name,
        service_url=storage.queue_service_url,
        client_id=storage.client_id,
    )


def _make_depths(settings: Settings) -> AzureDepths:
    bus = settings.bus
    account = _make_bus_account(settings)
    return AzureDepths(account, local_port=bus.local_admin_port)


def _make_model(settings: Settings) -> OpenAIChatModel:
    model = settings.model
    return OpenAIChatModel(
        ModelEndpoint(
            base_url=model.endpoint,
            model=model.model,
            api_key=model.api_key,
            client_id=model.client_id,
            api=model.api,
            vision=settings.vision,
        )
    )
