"""Keeps the watermarks of schedules in memory. Entry point: `MemoryWatermarks`."""

from __future__ import annotations

from aos.adapters.memory.interception import Interceptor, pass_through
from aos.adapters.memory.tables import MemoryTables
from aos.ports.schedules import Watermark


class MemoryWatermarks:
    """The watermarks. Implements `Watermarks`."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        self._tables = tables
        self._intercept = intercept

    async def list_all(self) -> list[Watermark]:
        """Return every row."""
        rows = self._tables.watermarks
        return await self._intercept(
            "watermarks.list_all", "", lambda: [rows[key] for key in sorted(rows)]
        )

    async def find(self, agent_id: str, schedule_id: str) -> Watermark | None:
        """Return the row, or None."""
        rows, key = self._tables.watermarks, (agent_id, schedule_id)
        return await self._intercept("watermarks.find", agent_id, lambda: rows.get(key))

    async def put(self, watermark: Watermark) -> None:
        """Write the row, whether or not it exists."""

        def act() -> None:
            key = (watermark.agent_id, watermark.schedule_id)
            self._tables.watermarks[key] = watermark
            self._tables.tell_watchers("watermarks.put", watermark.agent_id)

        await self._intercept("watermarks.put", watermark.agent_id, act)

    async def drop(self, agent_id: str, schedule_id: str) -> None:
        """Delete the row if it exists."""

        def act() -> None:
            self._tables.watermarks.pop((agent_id, schedule_id), None)
            self._tables.tell_watchers("watermarks.drop", agent_id)

        await self._intercept("watermarks.drop", agent_id, act)
