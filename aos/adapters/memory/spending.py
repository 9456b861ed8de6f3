"""Keeps what was spent of daily budgets in memory. Entry point: `MemorySpendingStore`."""

from __future__ import annotations

from aos.adapters.memory.interception import Interceptor, pass_through
from aos.adapters.memory.tables import MemoryTables
from aos.domain.budgets import DaySpending
from aos.domain.json_writer import write_json
from aos.domain.row_kinds import LARGEST_PROPERTY
from aos.errors import AosError, StaleWrite
from aos.ports.spending import StoredSpending


class MemorySpendingStore:
    """The spending. Implements `SpendingStore`."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        self._tables = tables
        self._intercept = intercept

    async def read(self, account: str, day: str) -> StoredSpending:
        """Return the row of an account and a day."""
        rows = self._tables.spending
        return await self._intercept(
            "spending.read", account, lambda: rows.get((account, day)) or StoredSpending()
        )

    async def write(
        self, account: str, day: str, spending: DaySpending, *, etag: str | None
    ) -> str:
        """Write the row in the place of the one with `etag`. Raises StaleWrite if it changed."""
        return await self._intercept(
            "spending.write", account, lambda: self._write((account, day), spending, etag)
        )

    def _write(self, key: tuple[str, str], spending: DaySpending, etag: str | None) -> str:
        kept = self._tables.spending.get(key)
        if (None if kept is None else kept.etag) != etag:
            raise StaleWrite(f"the spending {key} no longer has the ETag {etag}")
        if len(write_json(spending.open_turns)) > LARGEST_PROPERTY:
            raise AosError("internal_error", f"the open turns of {key} do not fit one property")
        new = self._tables.new_etag()
        self._tables.spending[key] = StoredSpending(spending=spending, etag=new)
        self._tables.tell_watchers("spending.write", key[0])
        return new
