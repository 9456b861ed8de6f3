"""Finds the storage, tables and vaults to save or to restore. Entry point: `find_location`.

The options name a resource group, whose newest deployment has the names, or each resource.
Without options AZURE_STORAGE_CONNECTION_STRING is used, which saves the laptop.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from infra.backups.errors import USAGE, BackupError
from infra.orchestrator.azure_cli import Az
from infra.orchestrator.exit_codes import Halt
from infra.orchestrator.history import read_outputs

if TYPE_CHECKING:
    from azure.data.tables import TableServiceClient
    from azure.storage.blob import BlobServiceClient

STORAGE = "AZURE_STORAGE_CONNECTION_STRING"
_LIMITS: dict[str, Any] = {"connection_timeout": 10, "read_timeout": 60, "retry_total": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """The resources that hold the state of an environment. `name` is for messages."""

    name: str
    connection_string: str | None = field(default=None, repr=False)
    account: str | None = None
    tables_url: str | None = None
    vaults: dict[str, str] = field(default_factory=dict)

    def open_blobs(self) -> BlobServiceClient:
        """Make a client of the storage account."""
        from azure.storage.blob import BlobServiceClient

        if self.connection_string:
            return BlobServiceClient.from_connection_string(
                self.connection_string, initial_backoff=1, **_LIMITS
            )
        url = f"https://{self.account}.blob.core.windows.net"
        return BlobServiceClient(url, credential=_make_credential(), initial_backoff=1, **_LIMITS)

    def open_tables(self) -> TableServiceClient:
        """Make a client of the tables: of the storage account, or of Cosmos DB."""
        from azure.data.tables import TableServiceClient

        if self.connection_string and not self.tables_url:
            return TableServiceClient.from_connection_string(self.connection_string, **_LIMITS)
        url = self.tables_url or f"https://{self.account}.table.core.windows.net"
        return TableServiceClient(endpoint=url, credential=_make_credential(), **_LIMITS)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a location."""
    parser.add_argument("-g", "--resource-group", help="resource group of the environment")
    parser.add_argument("--storage-account", metavar="NAME", help="storage account of the state")
    parser.add_argument(
        "--tables-url",
        metavar="URL",
        help="URL of the tables, if they are not in the storage account",
    )
    parser.add_argument(
        "--vault",
        action="append",
        default=[],
        metavar="apps=NAME|mcp=NAME",
        help="key vaults; without any of these options " + STORAGE + " is used",
    )


def find_location(options: argparse.Namespace, *, secrets: bool) -> Location:
    """Find the location that the options name. Raises BackupError."""
    vaults = _parse_vaults(options.vault)
    account, tables_url = options.storage_account, options.tables_url
    if options.resource_group:
        outputs = _read_outputs(options.resource_group)
        account = account or str(outputs["storageAccountName"])
        tables_url = tables_url or str(outputs.get("tableEndpoint") or "") or None
        vaults = vaults or {
            "apps": str(outputs["keyVaultName"]),
            "mcp": str(outputs["mcpKeyVaultName"]),
        }
    connection_string = None if account else os.environ.get(STORAGE)
    if not account and not connection_string:
        raise BackupError(
            f"no storage is named: pass --resource-group or --storage-account, or set {STORAGE}",
            code=USAGE,
        )
    if secrets and not vaults:
        raise BackupError(
            "no vault is named: pass --vault apps=NAME, or --without secrets", code=USAGE
        )
    return Location(
        name=options.resource_group or account or f"the storage of {STORAGE}",
        connection_string=connection_string,
        account=account,
        tables_url=tables_url,
        vaults=vaults if secrets else {},
    )


def find_az() -> Az:
    """Find the Azure CLI. Raises BackupError."""
    try:
        return Az.find()
    except Halt as halt:
        raise BackupError(f"{halt.reason}; {halt.advice}", code=USAGE) from halt


def _read_outputs(group: str) -> dict[str, Any]:
    try:
        return read_outputs(find_az(), group)
    except Halt as halt:
        raise BackupError(f"{halt.reason}; {halt.advice}", code=USAGE) from halt


def _parse_vaults(given: list[str]) -> dict[str, str]:
    found = {}
    for item in given:
        label, _, name = item.partition("=")
        if label not in ("apps", "mcp") or not name:
            raise BackupError(f"--vault {item}: write apps=NAME or mcp=NAME", code=USAGE)
        found[label] = name
    return found


def _make_credential() -> Any:
    from azure.identity import AzureCliCredential

    return AzureCliCredential(process_timeout=60)
