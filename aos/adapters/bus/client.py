"""Opens the Service Bus SDK's client of one namespace. Entry point: `BusClient`."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aos.errors import ConfigurationError

if TYPE_CHECKING:
    from ssl import SSLContext

    from azure.servicebus.aio import ServiceBusClient

AUTH_SECONDS = 10.0
NO_ADDRESS = (
    "no Service Bus is set: set AZURE_SERVICEBUS_CONNECTION_STRING, or with identity"
    " AZURE_SERVICEBUS_CONNECTION_STRING__fullyQualifiedNamespace"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BusAccount:
    """How to reach the namespace: by a connection string or by identity.

    A connection string with `UseDevelopmentEmulator=true` means a local Service Bus. By identity,
    `namespace` is the fully qualified name and `client_id` names a user-assigned identity.
    """

    connection_string: str | None = field(default=None, repr=False)
    namespace: str | None = None
    client_id: str | None = None


class BusClient:
    """The SDK's client, opened by the first call. It does not retry: its callers do."""

    def __init__(self, account: BusAccount) -> None:
        self._account = account
        self._client: ServiceBusClient | None = None
        self._credential: Any = None

    def open(self) -> ServiceBusClient:
        """Return the client. Raises ConfigurationError if the address is missing or wrong."""
        if self._client is None:
            self._client = self._open()
        return self._client

    async def close(self) -> None:
        """Close the client. The next call opens another."""
        client, self._client = self._client, None
        credential, self._credential = self._credential, None
        if client is not None:
            await client.close()
        if credential is not None:
            await credential.close()

    def _open(self) -> ServiceBusClient:
        from azure.servicebus.aio import ServiceBusClient

        options: dict[str, Any] = {
            "retry_total": 0,
            "auth_timeout": AUTH_SECONDS,
            "ssl_context": make_tls_context(),
        }
        account = self._account
        if account.connection_string:
            try:
                return ServiceBusClient.from_connection_string(account.connection_string, **options)
            except ValueError as error:
                message = f"AZURE_SERVICEBUS_CONNECTION_STRING is not a connection string ({error})"
                raise ConfigurationError(message) from error
        if not account.namespace:
            raise ConfigurationError(NO_ADDRESS)
        from azure.identity.aio import DefaultAzureCredential

        self._credential = DefaultAzureCredential(managed_identity_client_id=account.client_id)
        return ServiceBusClient(account.namespace, self._credential, **options)


@functools.cache
def make_tls_context() -> SSLContext:
    """The TLS context of all connections of this process.

    Without it the SDK reads the root certificates again for each link that is opened, which takes
    some 20 ms, and main opens one for each queue of dead letters every 15 s.
    """
    import ssl

    import certifi

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # as the SDK makes it
    context.load_verify_locations(certifi.where())
    return context
