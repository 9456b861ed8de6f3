"""Opens clients of storage queues. Entry points: `QueueAccount`, `open_queue`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aos.adapters.storage_calls import CONNECT_TIMEOUT_SECONDS, READ_RETRIES, READ_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from azure.storage.queue.aio import QueueClient


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueAccount:
    """How to reach the storage queues: by a connection string or by identity."""

    connection_string: str | None = field(default=None, repr=False)
    account_name: str | None = None
    service_url: str | None = None
    client_id: str | None = None


class OpenedQueue:
    """A client with its credential. `client` is the SDK's."""

    def __init__(self, client: QueueClient, credential: Any) -> None:
        self.client = client
        self._credential = credential

    async def close(self) -> None:
        """Close both."""
        await self.client.close()
        if self._credential is not None:
            await self._credential.close()


def open_queue(account: QueueAccount, name: str) -> OpenedQueue:
    """Make a client of one queue. It connects when it is first used."""
    # the SDK takes half a second to import; most processes never use a storage queue
    from azure.storage.queue.aio import QueueClient

    options: dict[str, Any] = {
        "connection_timeout": CONNECT_TIMEOUT_SECONDS,
        "read_timeout": READ_TIMEOUT_SECONDS,
        "retry_total": READ_RETRIES,
    }
    if account.connection_string:
        text = account.connection_string
        return OpenedQueue(QueueClient.from_connection_string(text, name, **options), None)
    from azure.identity.aio import DefaultAzureCredential

    url = account.service_url or f"https://{account.account_name}.queue.core.windows.net"
    credential = DefaultAzureCredential(managed_identity_client_id=account.client_id)
    return OpenedQueue(QueueClient(url, name, credential=credential, **options), credential)
