"""Keeps the lists of runs and the usage rows in memory. Entry points: `MemoryRunIndex`,
`MemoryLedger`, `MemoryUsage`.

They implement `RunIndex`, `Ledger` and `UsageReader` over the rows of `MemoryTables`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import TypeAlias

from aos.adapters.memory.interception import Interceptor, pass_through
from aos.adapters.memory.tables import DayUsage, MemoryTables
from aos.domain.runs.run import Run
from aos.domain.usage import UsageRow, find_usage_day
from aos.domain.wire_time import to_wire_time
from aos.errors import StaleWrite
from aos.ports.index import IndexedRun
from aos.ports.paging import Page
from aos.ports.usage import FoundUsage

USAGE_BUCKETS = 16
UsageKey: TypeAlias = tuple[str, str, int, str, str]


class MemoryRunIndex:
    """The lists, newest first."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        self._tables = tables
        self._intercept = intercept

    async def add(self, run: IndexedRun) -> None:
        """Add an admitted run. Adding it again changes nothing."""

        def act() -> None:
            self._tables.index[run.run_id] = run

        await self._intercept("index.add", run.run_id, act)

    async def list_runs(
        self,
        *,
        agent_id: str | None,
        owner: str | None,
        since: datetime | None,
        after: str | None,
        limit: int,
    ) -> Page[IndexedRun]:
        """List runs of an agent, of an owner, of both, or (both None) of everybody."""

        def act() -> Page[IndexedRun]:
            found = (
                row
                for row in self._tables.index.values()
                if agent_id in (None, row.agent_id)
                and owner in (None, row.owner)
                and (since is None or row.created_at >= since)
            )
            return _page(found, after=after, limit=limit)

        return await self._intercept("index.list_runs", agent_id or owner or "", act)

    async def list_conversations(
        self, *, owner: str | None, after: str | None, limit: int
    ) -> Page[IndexedRun]:
        """List one item (the first run) for each conversation, newest first."""

        def act() -> Page[IndexedRun]:
            first: dict[str, IndexedRun] = {}
            for row in sorted(self._tables.index.values(), key=_sort_key):
                if owner in (None, row.owner):
                    first.setdefault(row.conversation_id, row)
            return _page(first.values(), after=after, limit=limit)

        return await self._intercept("index.list_conversations", owner or "", act)

    async def find_first(self, conversation_id: str) -> IndexedRun | None:
        """Return the first run of a conversation, or None."""

        def act() -> IndexedRun | None:
            rows = sorted(self._tables.index.values(), key=_sort_key)
            return next((row for row in rows if row.conversation_id == conversation_id), None)

        return await self._intercept("index.find_first", conversation_id, act)


class MemoryLedger:
    """Records replies sent and usage counted, once for each run, in one transaction."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        self._tables = tables
        self._intercept = intercept
        self._etags: dict[UsageKey, str | None] = {}

    async def is_recorded(self, run: Run) -> bool:
        """Return whether `seen:<run_id>` exists."""
        seen = self._tables.seen
        return await self._intercept("ledger.is_recorded", run.run_id, lambda: run.run_id in seen)

    async def record(self, run: Run, *, owner: str) -> None:
        """Write `seen:<run_id>` and add the usage, in one transaction.

        Like the store in Azure it takes a row for new at first, remembers its ETag from write to
        write, and fails once when another instance has written the row meanwhile.
        """

        def act() -> None:
            key = _make_usage_key(run, owner)
            current = self._tables.usage.get(key)
            etag = "" if current is None else current.etag
            remembered = self._etags.get(key, "")
            self._etags[key] = None  # unknown until the write is done
            if run.run_id in self._tables.seen or remembered not in (None, etag):
                raise StaleWrite(
                    f"run {run.run_id!r} was recorded, or the usage row of its day changed"
                )
            day = current or DayUsage(etag="")
            self._tables.seen[run.run_id] = run.scrub()  # the row holds no text
            new = self._etags[key] = self._tables.new_etag()
            self._tables.usage[key] = replace(self.add_up(day, run), etag=new)
            self._tables.tell_watchers("ledger.record", run.run_id)

        await self._intercept("ledger.record", run.run_id, act)

    def add_up(self, day: DayUsage, run: Run) -> DayUsage:
        """The row of the day with one more run."""
        return replace(day, runs=day.runs + 1, usage=day.usage + run.usage)


class MemoryUsage:
    """Reads what the ledgers counted. Implements `UsageReader`."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        self._tables = tables
        self._intercept = intercept

    async def read(
        self, *, first: str, last: str, agent_id: str | None, owner: str | None, most: int
    ) -> FoundUsage:
        """Read the rows of these days."""

        def act() -> FoundUsage:
            rows = [
                UsageRow(agent_id=agent, day=day, owner=of, model=model, runs=d.runs, usage=d.usage)
                for (agent, day, _, of, model), d in sorted(self._tables.usage.items())
                if first <= day <= last and agent_id in (None, agent) and owner in (None, of)
            ]
            return FoundUsage(rows=rows[:most], complete=len(rows) <= most)

        return await self._intercept("usage.read", agent_id or owner or "", act)


def _make_usage_key(run: Run, owner: str) -> UsageKey:
    """Return the key of the usage row: the agent, the day of the run's end, one of 16 buckets, the
    owner and the model."""
    number = hashlib.sha256(run.run_id.encode()).digest()[0] % USAGE_BUCKETS
    return run.agent_id, find_usage_day(run), number, owner, run.model or ""


def _sort_key(row: IndexedRun) -> tuple[datetime, str]:
    return row.created_at, row.run_id


def _page(found: Iterable[IndexedRun], *, after: str | None, limit: int) -> Page[IndexedRun]:
    """Return the newest rows, after the row that `after` names."""
    rows = sorted(found, key=_sort_key, reverse=True)
    key: Callable[[IndexedRun], str] = _make_token
    if after is not None:
        rows = [row for row in rows if key(row) < after]
    more = len(rows) > limit
    return Page(items=rows[:limit], next=key(rows[limit - 1]) if more else None)


def _make_token(row: IndexedRun) -> str:
    return f"{to_wire_time(row.created_at)}|{row.run_id}"
