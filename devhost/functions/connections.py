"""Resolves a trigger's `connection` to an account or a namespace. Entry points:
`resolve_storage`, `resolve_bus`.

It follows the rules of Azure's host: the setting `AzureWebJobs<name>` or `<name>` holds a
connection string; without it, settings with that prefix and a suffix (`<name>__accountName`) name a
resource for access by identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from devhost.functions.errors import LoadError

DEVELOPMENT_STORAGE = (  # the value of UseDevelopmentStorage=true, documented by Azurite
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey="
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"
    "QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;"
    "TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A resolved `connection`: a connection string, or an address and an identity."""

    setting: str
    connection_string: str | None = field(default=None, repr=False)
    address: str | None = None
    client_id: str | None = None
    managed: bool = False


def resolve_storage(
    name: str, environment: Mapping[str, str], *, function: str, service: str = "queue"
) -> Connection:
    """Resolve the storage account of a trigger. Raises LoadError if no setting names one."""
    found = _resolve(
        name or "Storage",
        environment,
        suffixes=(f"{service}ServiceUri", "accountName"),
        function=function,
    )
    if (found.connection_string or "").strip().lower().startswith("usedevelopmentstorage=true"):
        return Connection(setting=found.setting, connection_string=DEVELOPMENT_STORAGE)
    if found.address and "//" not in found.address:
        return Connection(
            setting=found.setting,
            address=f"https://{found.address}.{service}.core.windows.net",
            client_id=found.client_id,
            managed=found.managed,
        )
    return found


def resolve_bus(name: str, environment: Mapping[str, str], *, function: str) -> Connection:
    """Resolve the Service Bus namespace of a trigger. Raises LoadError if no setting names one."""
    return _resolve(
        name or "ServiceBus",
        environment,
        suffixes=("fullyQualifiedNamespace",),
        function=function,
    )


def _resolve(
    name: str, environment: Mapping[str, str], *, suffixes: tuple[str, ...], function: str
) -> Connection:
    folded = {key.lower(): value for key, value in environment.items() if value}
    for setting in (f"AzureWebJobs{name}", name):
        exact = folded.get(setting.lower())
        if exact:
            return Connection(setting=setting, connection_string=exact)
        for suffix in suffixes:
            address = folded.get(f"{setting}__{suffix}".lower())
            if address:
                credential = folded.get(f"{setting}__credential".lower(), "")
                return Connection(
                    setting=f"{setting}__{suffix}",
                    address=address,
                    client_id=folded.get(f"{setting}__clientid".lower()),
                    managed=credential.lower() == "managedidentity",
                )
    raise LoadError(
        function,
        f"no setting resolves its connection {name!r}",
        remedy=f"set {name} to a connection string, or {name}__{suffixes[-1]}",
    )
