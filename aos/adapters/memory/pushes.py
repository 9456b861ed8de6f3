"""Keeps where the push notifications of A2A tasks go, in memory. Entry point:
`MemoryPushConfigs`."""

from __future__ import annotations

from aos.adapters.memory.interception import Interceptor, pass_through
from aos.adapters.memory.tables import MemoryTables
from aos.domain.pushes import PushConfig


class MemoryPushConfigs:
    """The receivers of push notifications."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        self._tables = tables
        self._intercept = intercept

    async def put(self, config: PushConfig) -> None:
        """Write a receiver."""

        def act() -> None:
            self._tables.pushes[config.run_id, config.config_id] = config
            self._tables.tell_watchers("pushes.put", config.run_id)

        await self._intercept("pushes.put", config.run_id, act)

    async def list_all(self, run_id: str) -> list[PushConfig]:
        """Return the receivers of a run, by their ids."""

        def act() -> list[PushConfig]:
            rows = self._tables.pushes
            return [rows[key] for key in sorted(rows) if key[0] == run_id]

        return await self._intercept("pushes.list_all", run_id, act)

    async def find(self, run_id: str, config_id: str) -> PushConfig | None:
        """Return a receiver, or None."""
        rows = self._tables.pushes
        return await self._intercept("pushes.find", run_id, lambda: rows.get((run_id, config_id)))

    async def drop(self, run_id: str, config_id: str) -> None:
        """Remove a receiver if it exists."""

        def act() -> None:
            self._tables.pushes.pop((run_id, config_id), None)
            self._tables.tell_watchers("pushes.drop", run_id)

        await self._intercept("pushes.drop", run_id, act)
