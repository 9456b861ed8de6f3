"""Builds the stores on the tables of a storage account. Entry point: `AzureTables`."""

from __future__ import annotations

from aos.adapters.tables.account import Table, TableAccount, TableClients
from aos.adapters.tables.asks import AzureDecisions, AzureQuestions
from aos.adapters.tables.cleaning import AzureDueStore, AzureRunCleaner
from aos.adapters.tables.conversations import AzureConversationStore
from aos.adapters.tables.eraser import AzureEraser
from aos.adapters.tables.failures import AzureFailureStore
from aos.adapters.tables.index import AzureRunIndex
from aos.adapters.tables.ledger import AzureLedger
from aos.adapters.tables.payloads import Payloads
from aos.adapters.tables.pending import AzurePendingStore
from aos.adapters.tables.pushes import AzurePushConfigs
from aos.adapters.tables.requests import AzureRequestStore
from aos.adapters.tables.run_events import AzureRunEventStore
from aos.adapters.tables.schedules import AzureWatermarks
from aos.adapters.tables.slots import AzureSlots
from aos.adapters.tables.spending import AzureSpendingStore
from aos.adapters.tables.tool_calls import AzureToolLedger
from aos.adapters.tables.tools import AzureToolCatalog
from aos.adapters.tables.usage import AzureUsage
from aos.ports.asks import Decisions, Questions
from aos.ports.blobs import BlobStore
from aos.ports.cleaning import DueStore, RunCleaner
from aos.ports.conversations import ConversationStore
from aos.ports.dead_letters import FailureStore
from aos.ports.deletion import Eraser
from aos.ports.index import RunIndex
from aos.ports.ledger import Ledger
from aos.ports.pushes import PushConfigStore
from aos.ports.requests import PendingStore, RequestStore
from aos.ports.run_events import RunEventStore
from aos.ports.schedules import Watermarks
from aos.ports.slots import ConversationSlots
from aos.ports.spending import SpendingStore
from aos.ports.tools import ToolCatalog, ToolLedger
from aos.ports.usage import UsageReader


class AzureTables:
    """The tables of one storage account. `payloads` is the container for texts over 32 KiB.

    Each store exists once in a process, because the stores cache what saves calls.
    """

    def __init__(self, account: TableAccount, *, payloads: BlobStore) -> None:
        self._clients = TableClients(account)
        self._blobs = payloads
        self._kept = kept = Payloads(payloads)
        self._requests = AzureRequestStore(self._open_table("aosruns"), kept)
        self._pushes = AzurePushConfigs(self._open_table("aosruns"))
        self._slots = AzureSlots(self._open_table("aosruns"))
        self._pending = AzurePendingStore(self._open_table("aospending"))
        self._conversations = AzureConversationStore(self._open_table("aosconversations"), kept)
        self._run_events = AzureRunEventStore(self._open_table("aosconversations"), kept)
        self._index = AzureRunIndex(
            self._open_table("aosindex"), requests=self._open_table("aosruns")
        )
        self._ledger = AzureLedger(self._open_table("aosusage"))
        self._usage = AzureUsage(self._open_table("aosusage"))
        self._spending = AzureSpendingStore(self._open_table("aosusage"))
        self._decisions = AzureDecisions(self._open_table("aostoolcalls"), kept)
        self._questions = AzureQuestions(self._open_table("aostoolcalls"), kept)
        self._tool_calls = AzureToolLedger(self._open_table("aostoolcalls"), kept)
        self._watermarks = AzureWatermarks(self._open_table("aosschedules"))
        self._failures = AzureFailureStore(self._open_table("aosfailures"))
        self._tools = AzureToolCatalog(self._open_table("aostools"), kept)

    def requests(self) -> RequestStore:
        """Return the store of request rows."""
        return self._requests

    def pushes(self) -> PushConfigStore:
        """Return the store of the receivers of push notifications."""
        return self._pushes

    def slots(self) -> ConversationSlots:
        """Return the store of the slots of conversations."""
        return self._slots

    def pending(self) -> PendingStore:
        """Return the store of pending rows."""
        return self._pending

    def conversations(self) -> ConversationStore:
        """Return the store of conversations."""
        return self._conversations

    def run_events(self) -> RunEventStore:
        """Return the store of the events of runs."""
        return self._run_events

    def index(self) -> RunIndex:
        """Return the lists of runs and conversations."""
        return self._index

    def ledger(self) -> Ledger:
        """Return the store of sent replies and counted usage."""
        return self._ledger

    def usage(self) -> UsageReader:
        """Return the reader of counted usage."""
        return self._usage

    def spending(self) -> SpendingStore:
        """Return the store of what was spent of daily budgets."""
        return self._spending

    def decisions(self) -> Decisions:
        """Return the store of tool calls that wait for a person, and of decisions."""
        return self._decisions

    def questions(self) -> Questions:
        """Return the store of the questions of tools, and of answers."""
        return self._questions

    def tool_calls(self) -> ToolLedger:
        """Return the store of tool calls."""
        return self._tool_calls

    def failures(self) -> FailureStore:
        """Return the store of why messages were given up."""
        return self._failures

    def tools(self) -> ToolCatalog:
        """Return the store of MCP servers and their tools as last seen."""
        return self._tools

    def watermarks(self) -> Watermarks:
        """Return the store of how far schedules were followed."""
        return self._watermarks

    def eraser(self, *, logs: BlobStore) -> Eraser:
        """Return what removes a deleted conversation; `logs` is the container of transcripts."""
        return AzureEraser(
            conversations=self._open_table("aosconversations"),
            requests=self._open_table("aosruns"),
            tool_calls=self._open_table("aostoolcalls"),
            payloads=self._kept,
            data=self._blobs,
            logs=logs,
        )

    def due(self) -> DueStore:
        """Return what is to be cleaned."""
        return AzureDueStore(self._open_table("aosindex"))

    def cleaner(self) -> RunCleaner:
        """Return what removes the rows of old runs."""
        return AzureRunCleaner(
            index=self._open_table("aosindex"),
            requests=self._open_table("aosruns"),
            tool_calls=self._open_table("aostoolcalls"),
            usage=self._open_table("aosusage"),
            data=self._blobs,
        )

    async def check(self, table: str = "aosruns") -> None:
        """Read one row for the health check. Raises TransientError if the tables do not answer.

        Each app reads a `table` that it may read.
        """
        await self._open_table(table).get("health", "none", select=["schema"])

    async def close(self) -> None:
        """Close the client. The next call opens another."""
        await self._clients.close()

    def _open_table(self, name: str) -> Table:
        return Table(self._clients, name)
