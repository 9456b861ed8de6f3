"""Keeps the events of runs in memory. Entry point: `MemoryRunEventStore`."""

from __future__ import annotations

from aos.adapters.memory.interception import Interceptor, pass_through
from aos.adapters.memory.tables import MemoryTables
from aos.domain.runs.run_events import EventId, EventRow
from aos.errors import StaleWrite


class MemoryRunEventStore:
    """The events of runs. Implements `RunEventStore`."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        self._tables = tables
        self._intercept = intercept

    async def read(
        self, conversation_id: str, run_id: str, *, after: EventId, limit: int
    ) -> list[EventRow]:
        """Return at most `limit` rows whose last event comes after `after`, in the order of ids."""

        def act() -> list[EventRow]:
            rows = self._list(conversation_id, run_id)
            return [row for row in rows if row.last_id > after][:limit]

        return await self._intercept("run_events.read", run_id, act)

    async def add(self, conversation_id: str, row: EventRow, *, new: bool = False) -> None:
        """Write provisional events; with `new` only if the row does not exist."""

        def act() -> None:
            kept = self._tables.conversations.get(conversation_id)
            if kept is not None:
                if new and (row.run_id, row.last_id.key) in kept.events:
                    raise StaleWrite(f"the events {row.last_id} of {row.run_id!r} exist already")
                kept.events[row.run_id, row.last_id.key] = row
                self._tables.tell_watchers("run_events.add", row.run_id)

        await self._intercept("run_events.add", row.run_id, act)

    async def remove_provisional(self, conversation_id: str, run_id: str, *, limit: int) -> int:
        """Delete at most `limit` rows of provisional events; return how many there were."""

        def act() -> int:
            rows = self._list(conversation_id, run_id)
            found = [row for row in rows if row.last_id.is_provisional][:limit]
            for row in found:
                del self._tables.conversations[conversation_id].events[run_id, row.last_id.key]
            return len(found)

        return await self._intercept("run_events.remove_provisional", run_id, act)

    def _list(self, conversation_id: str, run_id: str) -> list[EventRow]:
        kept = self._tables.conversations.get(conversation_id)
        rows = [] if kept is None else [row for row in kept.events.values() if row.run_id == run_id]
        return sorted(rows, key=lambda row: row.last_id)
