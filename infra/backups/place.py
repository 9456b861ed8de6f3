"""Which storage, tables and vaults belong to the environment that is meant?

Either a resource group, whose newest deployment names them, or names that are given one by one, or
AZURE_STORAGE_CONNECTION_STRING, which is how the laptop is saved.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator import standing
from orchestrator.az import Az
from orchestrator.exits import Halt

from backups.errors import USAGE, BackupError

if TYPE_CHECKING:
    from azure.data.tables import TableServiceClient
    from azure.storage.blob import BlobServiceClient

STORAGE = "AZURE_STORAGE_CONNECTION_STRING"
_LIMITS: dict[str, Any] = {"connection_timeout": 10, "read_timeout": 60, "retry_total": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What is saved or written to; `name` is for people."""

    name: str
    connection_string: str | None = field(default=None, repr=False)
    account: str | None = None
    tables_url: str | None = None
    vaults: dict[str, str] = field(default_factory=dict)

    def blobs(self) -> BlobServiceClient:
        """A client of the storage account."""
        from azure.storage.blob import BlobServiceClient

        if self.connection_string:
            return BlobServiceClient.from_connection_string(
                self.connection_string, initial_backoff=1, **_LIMITS
            )
        url = f"https://{self.account}.blob.core.windows.net"
        return BlobServiceClient(url, credential=_credential(), initial_backoff=1, **_LIMITS)

    def tables(self) -> TableServiceClient:
        """A client of the tables: of the account, or of Cosmos DB."""
        from azure.data.tables import TableServiceClient

        if self.connection_string and not self.tables_url:
            return TableServiceClient.from_connection_string(self.connection_string, **_LIMITS)
        url = self.tables_url or f"https://{self.account}.table.core.windows.net"
        return TableServiceClient(endpoint=url, credential=_credential(), **_LIMITS)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that name a place."""
    parser.add_argument("-g", "--resource-group", help="the environment that was deployed there")
    parser.add_argument("--storage-account", metavar="NAME", help="its account of the state")
    parser.add_argument("--tables-url", metavar="URL", help="its tables, where they are elsewhere")
    parser.add_argument(
        "--vault",
        action="append",
        default=[],
        metavar="apps=NAME|mcp=NAME",
        help="its vaults; with none of these options: " + STORAGE,
    )


def of(options: argparse.Namespace, *, secrets: bool) -> Place:
    """The place that is meant. Raises BackupError."""
    vaults = _vaults(options.vault)
    account, tables_url = options.storage_account, options.tables_url
    if options.resource_group:
        outputs = _outputs(options.resource_group)
        account = account or str(outputs["storageAccountName"])
        tables_url = tables_url or str(outputs.get("tableEndpoint") or "") or None
        vaults = vaults or {
            "apps": str(outputs["keyVaultName"]),
            "mcp": str(outputs["mcpKeyVaultName"]),
        }
    connection_string = None if account else os.environ.get(STORAGE)
    if not account and not connection_string:
        raise BackupError(
            f"say what to save: --resource-group, --storage-account or {STORAGE}", code=USAGE
        )
    if secrets and not vaults:
        raise BackupError("no vault is named: --vault apps=NAME, or --without secrets", code=USAGE)
    return Place(
        name=options.resource_group or account or f"what {STORAGE} names",
        connection_string=connection_string,
        account=account,
        tables_url=tables_url,
        vaults=vaults if secrets else {},
    )


def az() -> Az:
    """The Azure CLI. Raises BackupError."""
    try:
        return Az.found()
    except Halt as halt:
        raise BackupError(f"{halt.reason}; {halt.advice}", code=USAGE) from halt


def _outputs(group: str) -> dict[str, Any]:
    try:
        return standing.outputs_of(az(), group)
    except Halt as halt:
        raise BackupError(f"{halt.reason}; {halt.advice}", code=USAGE) from halt


def _vaults(given: list[str]) -> dict[str, str]:
    found = {}
    for item in given:
        label, _, name = item.partition("=")
        if label not in ("apps", "mcp") or not name:
            raise BackupError(f"--vault {item}: write apps=NAME or mcp=NAME", code=USAGE)
        found[label] = name
    return found


def _credential() -> Any:
    from azure.identity import AzureCliCredential

    return AzureCliCredential(process_timeout=60)
