"""Keeps the rows of AOS in Azure Tables, Azurite or Cosmos for Table. Entry point:
`azure.AzureTables`.

The row layout is that of docs/contracts/storage.md. The first call imports the SDK.
"""

from aos.adapters.tables.account import TableAccount
from aos.adapters.tables.azure import AzureTables

__all__ = ["AzureTables", "TableAccount"]
