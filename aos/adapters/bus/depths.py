"""Counts messages with the SDK's administration client. Entry point: `AzureDepths`.

The SDK speaks https only. A local Service Bus (`UseDevelopmentEmulator=true`) has its
administration interface on a port of its own, over http: there a transport changes the scheme.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from aos.adapters.bus.client import BusAccount
from aos.errors import TransientError
from aos.ports.depths import EntityDepth

if TYPE_CHECKING:
    from azure.servicebus.aio.management import ServiceBusAdministrationClient

SUBSCRIPTIONS = "/subscriptions/"
REFUSED = (401, 403)
NOT_FOUND = 404
_LOCAL = re.compile(r"UseDevelopmentEmulator\s*=\s*true", re.IGNORECASE)
_ENDPOINT = re.compile(r"(Endpoint\s*=\s*sb://[^;:/]+)(:\d+)?/?", re.IGNORECASE)


class AzureDepths:
    """Implements `QueueDepths`. Opens a client for each reading: there is one in ten seconds."""

    def __init__(self, account: BusAccount, *, local_port: int) -> None:
        """`local_port` is the port of a local Service Bus's administration interface."""
        self._account = account
        self._local_port = local_port
        self._credential: Any = None

    async def count(self, entity: str) -> EntityDepth:
        """Count the messages of a queue, or of `<topic>/Subscriptions/<subscription>`."""
        await asyncio.to_thread(_load)
        from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError

        try:
            async with self._open() as client:
                found = await _read(client, entity)
        except ResourceNotFoundError:
            return EntityDepth(entity=entity, error="entity_not_found")
        except HttpResponseError as error:
            if error.status_code in REFUSED:
                return EntityDepth(entity=entity, error="forbidden")
            if error.status_code == NOT_FOUND:
                return EntityDepth(entity=entity, error="entity_not_found")
            raise TransientError(f"the administration interface answered: {error}") from error
        except AzureError as error:
            raise TransientError(f"the administration interface is away: {error}") from error
        return EntityDepth(
            entity=entity,
            active=found.active_message_count,
            scheduled=getattr(found, "scheduled_message_count", 0),
            dead=found.dead_letter_message_count,
        )

    def _open(self) -> ServiceBusAdministrationClient:
        from azure.servicebus.aio.management import ServiceBusAdministrationClient

        options: dict[str, Any] = {"retry_total": 0}
        text = self._account.connection_string
        if text is None:
            return ServiceBusAdministrationClient(
                self._account.namespace or "", self._get_credential(), **options
            )
        if _LOCAL.search(text):
            text = _ENDPOINT.sub(rf"\g<1>:{self._local_port}", text, count=1)
            options["transport"] = _make_plain_transport()
        return ServiceBusAdministrationClient.from_connection_string(text, **options)

    def _get_credential(self) -> Any:
        """The credential, which keeps its tokens from one reading to the next."""
        if self._credential is None:
            from azure.identity.aio import DefaultAzureCredential

            self._credential = DefaultAzureCredential(
                managed_identity_client_id=self._account.client_id
            )
        return self._credential


async def _read(client: ServiceBusAdministrationClient, entity: str) -> Any:
    topic, below, name = _split(entity)
    if below:
        return await client.get_subscription_runtime_properties(topic, name)
    return await client.get_queue_runtime_properties(entity)


def _split(entity: str) -> tuple[str, bool, str]:
    at = entity.lower().find(SUBSCRIPTIONS)
    if at < 0:
        return entity, False, ""
    return entity[:at], True, entity[at + len(SUBSCRIPTIONS) :]


def _make_plain_transport() -> Any:
    """Make a transport that sends requests for https URLs over http."""
    from azure.core.pipeline.transport import AioHttpTransport

    class PlainTransport(AioHttpTransport):  # type: ignore[misc]  # the SDK exports it untyped
        async def send(self, request: Any, **config: Any) -> Any:
            request.url = request.url.replace("https://", "http://", 1)
            return await super().send(request, **config)

    return PlainTransport()


def _load() -> None:
    import azure.servicebus.aio.management  # noqa: F401
