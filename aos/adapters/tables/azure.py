"""Which stores does a storage account's tables give?"""

from __future__ import annotations

from aos.adapters.tables.account import Table, TableAccount, TableClients
from aos.adapters.tables.approvals import AzureDecisions
from aos.adapters.tables.conversations import AzureConversationStore
from aos.adapters.tables.index import AzureRunIndex
from aos.adapters.tables.ledger import AzureLedger
from aos.adapters.tables.payloads import Payloads
from aos.adapters.tables.pending import AzurePendingStore
from aos.adapters.tables.requests import AzureRequestStore
from aos.adapters.tables.tool_calls import AzureToolLedger
from aos.adapters.tables.tools import AzureToolCatalog
from aos.ports.blobs import BlobStore
from aos.ports.conversations import ConversationStore
from aos.ports.index import RunIndex
from aos.ports.ledger import Ledger
from aos.ports.requests import PendingStore, RequestStore
from aos.ports.tools import Decisions, ToolCatalog, ToolLedger


class AzureTables:
    """The tables of one storage account; `payloads` is the container of texts over 32 KiB.

    Each store is one object a process, since they remember what saves calls.
    """

    def __init__(self, account: TableAccount, *, payloads: BlobStore) -> None:
        self._clients = TableClients(account)
        kept = Payloads(payloads)
        self._requests = AzureRequestStore(self._table("aosruns"), kept)
        self._pending = AzurePendingStore(self._table("aospending"))
        self._conversations = AzureConversationStore(self._table("aosconversations"), kept)
        self._index = AzureRunIndex(self._table("aosindex"), requests=self._table("aosruns"))
        self._ledger = AzureLedger(self._table("aosusage"))
        self._decisions = AzureDecisions(self._table("aostoolcalls"), kept)
        self._tool_calls = AzureToolLedger(self._table("aostoolcalls"), kept)
        self._tools = AzureToolCatalog(self._table("aostools"), kept)

    def requests(self) -> RequestStore:
        """The request rows."""
        return self._requests

    def pending(self) -> PendingStore:
        """The pending rows."""
        return self._pending

    def conversations(self) -> ConversationStore:
        """The conversations."""
        return self._conversations

    def index(self) -> RunIndex:
        """The lists."""
        return self._index

    def ledger(self) -> Ledger:
        """Replies sent and usage counted."""
        return self._ledger

    def decisions(self) -> Decisions:
        """What waits for a person, and what was decided."""
        return self._decisions

    def tool_calls(self) -> ToolLedger:
        """The tool calls."""
        return self._tool_calls

    def tools(self) -> ToolCatalog:
        """The MCP servers as last seen, with their tools."""
        return self._tools

    async def check(self, table: str = "aosruns") -> None:
        """One cheap read, for health; raises TransientError when the tables are away. An app
        looks at a `table` that it may read."""
        await self._table(table).get("health", "none", select=["schema"])

    async def close(self) -> None:
        """Close the client; the next call opens another."""
        await self._clients.close()

    def _table(self, name: str) -> Table:
        return Table(self._clients, name)
