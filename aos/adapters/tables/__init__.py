"""How does AOS keep its rows in Azure Tables (or Azurite, or Cosmos for Table)?

`AzureTables` is one account, kept open; its stores are the table ports of `aos.ports`, in the row
layout of docs/contracts/storage.md. The SDK is loaded by the first call.
"""

from aos.adapters.tables.account import TableAccount
from aos.adapters.tables.azure import AzureTables

__all__ = ["AzureTables", "TableAccount"]
