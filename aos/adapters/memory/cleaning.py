"""Keeps what is to be cleaned, and removes old rows, in memory. Entry points: `MemoryDueStore`,
`MemoryRunCleaner`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aos.adapters.memory.interception import Interceptor, pass_through
from aos.adapters.memory.tables import MemoryTables
from aos.domain.wire_time import to_wire_time
from aos.ports.cleaning import Due, OldRun, Window
from aos.ports.index import IndexedRun


class MemoryDueStore:
    """What is to be cleaned, and the windows."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        self._tables = tables
        self._intercept = intercept

    async def put(self, due: Due) -> None:
        """Write it."""

        def act() -> None:
            self._tables.due[_place(due)] = due
            self._tables.tell_watchers("due.put", due.name)

        await self._intercept("due.put", due.name, act)

    async def list_due(self, now: datetime, *, limit: int) -> list[Due]:
        """Return what is due, in the order of its time."""

        def act() -> list[Due]:
            places = sorted(self._tables.due)
            found = [self._tables.due[place] for place in places]
            return [due for due in found if due.due_at <= now][:limit]

        return await self._intercept("due.list_due", "", act)

    async def drop(self, due: Due) -> None:
        """Remove it."""

        def act() -> None:
            self._tables.due.pop(_place(due), None)
            self._tables.tell_watchers("due.drop", due.name)

        await self._intercept("due.drop", due.name, act)

    async def read_windows(self) -> Mapping[str, Window]:
        """Return all windows."""
        return await self._intercept("due.read_windows", "", lambda: dict(self._tables.windows))

    async def write_window(self, name: str, window: Window) -> None:
        """Write a window."""

        def act() -> None:
            self._tables.windows[name] = window

        await self._intercept("due.write_window", name, act)


class MemoryRunCleaner:
    """The rows of runs and of usage whose time is over."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        self._tables = tables
        self._intercept = intercept

    async def list_old(self, window: Window, *, agent_id: str | None, limit: int) -> list[OldRun]:
        """Return entries in a window, the newest first."""

        def act() -> list[OldRun]:
            assert window.end is not None
            rows = sorted(self._tables.index.values(), key=_key)
            firsts: dict[str, str] = {}
            for row in rows:
                firsts.setdefault(row.conversation_id, row.run_id)
            found = [
                OldRun(run=row, place=_key(row), first=firsts[row.conversation_id] == row.run_id)
                for row in reversed(rows)
                if row.created_at <= window.end
                and (window.done is None or row.created_at > window.done)
                and agent_id in (None, row.agent_id)
            ]
            return [old for old in found if window.after is None or old.place < window.after][
                :limit
            ]

        return await self._intercept("cleaner.list_old", agent_id or "", act)

    async def find_end(self, run_id: str, *, agent_id: str) -> datetime | None:
        """Return when the run ended, by the record of its reply."""

        def act() -> datetime | None:
            run = self._tables.seen.get(run_id)
            return None if run is None else run.ended_at

        return await self._intercept("cleaner.find_end", run_id, act)

    async def remove_run(self, run: IndexedRun, *, listed: bool) -> None:
        """Remove the rows of a run."""

        def act() -> None:
            tables = self._tables
            calls: tuple[dict[tuple[str, str], Any], ...] = (
                tables.tool_calls,
                tables.approvals,
                tables.decisions,
                tables.questions,
                tables.answers,
                tables.pushes,
            )
            for rows in calls:
                for key in [key for key in rows if key[0] == run.run_id]:
                    del rows[key]
            tables.requests.pop(run.run_id, None)
            tables.trees.pop(run.run_id, None)
            tables.seen.pop(run.run_id, None)
            if not listed:
                tables.index.pop(run.run_id, None)
            tables.tell_watchers("cleaner.remove_run", run.run_id)

        await self._intercept("cleaner.remove_run", run.run_id, act)

    async def unlist(self, conversation_id: str) -> None:
        """Remove the entry that lists a conversation."""

        def act() -> None:
            rows = sorted(self._tables.index.values(), key=_key)
            first = [row for row in rows if row.conversation_id == conversation_id][:1]
            for row in first:
                if row.run_id not in self._tables.requests:
                    del self._tables.index[row.run_id]

        await self._intercept("cleaner.unlist", conversation_id, act)

    async def remove_usage(self, account: str, *, day: datetime) -> None:
        """Remove the rows of a day."""

        def act() -> None:
            date = str(to_wire_time(day))[:10]
            for key in [key for key in self._tables.usage if key[:2] == (account, date)]:
                del self._tables.usage[key]
            self._tables.spending.pop((account, date), None)

        await self._intercept("cleaner.remove_usage", account, act)


def _place(due: Due) -> str:
    moments = (to_wire_time(due.due_at), to_wire_time(due.about))
    return f"{moments[0]}-{due.kind}-{due.name}-{moments[1]}"


def _key(row: IndexedRun) -> str:
    return f"{to_wire_time(row.created_at)}|{row.run_id}"
