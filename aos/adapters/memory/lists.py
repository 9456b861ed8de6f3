"""Keeps the lists of runs and the usage rows in memory. Entry points: `MemoryRunIndex`,
`MemoryLedger`, `MemoryUsage`.

They implement `RunIndex`, `Ledger` and `UsageReader` over the rows of `MemoryTables`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
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
from aos.ports.ledger import CountedRun, SeenRun
from aos.ports.paging import Page
from aos.ports.usage import FoundUsage

USAGE_BUCKETS = 16
MOST_RUNS = 40
"""Runs that one call of the ledger records."""
UsageKey: TypeAlias = tuple[str, str, int, str, str]


class MemoryRunIndex:
    """The lists, newest first."""

    def __init__(self, tables: MemoryTables, *, intercept: Interceptor = pass_through) -> None:
        self._tables = tables
        self._intercept = intercept

    async def add(self, *runs: IndexedRun) -> None:
        """Add admitted runs. Adding one again changes nothing."""

        def act() -> None:
            self._tables.index.update((run.run_id, run) for run in runs)

        if runs:
            await self._intercept("index.add", runs[0].run_id, act)

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

    async def find(self, run: Run) -> SeenRun | None:
        """Return what `seen:<run_id>` says, or None."""
        return await self._intercept("ledger.find", run.run_id, lambda: self._find(run.run_id))

    def _find(self, run_id: str) -> SeenRun | None:
        if run_id not in self._tables.seen:
            return None
        counted, told = run_id not in self._tables.uncounted, run_id not in self._tables.untold
        return SeenRun(told=told, counted=counted, etag=f"{counted}")

    async def note_sent(self, sent: CountedRun) -> None:
        """Write `seen:<run_id>` alone. Raises StaleWrite if there is a row."""

        def act() -> None:
            run_id = sent.run.run_id
            if run_id in self._tables.seen:
                raise StaleWrite(f"run {run_id!r} was recorded")
            self._note(sent)
            self._tables.uncounted.add(run_id)
            self._tables.tell_watchers("ledger.note_sent", run_id)

        await self._intercept("ledger.note_sent", sent.run.run_id, act)

    def _note(self, sent: CountedRun) -> None:
        run_id = sent.run.run_id
        self._tables.seen[run_id] = sent.run.scrub()  # the row holds no text
        (self._tables.untold.discard if sent.told else self._tables.untold.add)(run_id)

    async def record(self, *runs: CountedRun) -> None:
        """Write `seen:<run_id>` of these runs and add the usage, in one transaction.

        Like the store in Azure it takes a row for new at first, remembers its ETag from write to
        write, and fails once when another instance has written the row meanwhile.
        """
        (agent_id,) = {counted.run.agent_id for counted in runs}
        assert len(runs) <= MOST_RUNS, f"{len(runs)} runs of {agent_id} do not fit one transaction"
        await self._intercept("ledger.record", runs[0].run.run_id, lambda: self._record(runs))

    def _record(self, runs: Sequence[CountedRun]) -> None:
        days = self._choose_rows(runs)
        current = {key: self._tables.usage.get(key) for key in days}
        remembered = {key: self._etags.get(key, "") for key in days}
        self._etags |= dict.fromkeys(days)  # unknown until the write is done
        for key, day in current.items():
            if remembered[key] not in (None, "" if day is None else day.etag):
                raise StaleWrite(f"the usage row {key} changed")
        for counted in runs:
            seen = self._find(counted.run.run_id)
            if (None if seen is None else seen.etag) != counted.etag:
                raise StaleWrite(f"run {counted.run.run_id!r} was recorded")
        for key, mine in days.items():
            total = current[key] or DayUsage(etag="")
            for run in mine:
                total = self.add_up(total, run)
            new = self._etags[key] = self._tables.new_etag()
            self._tables.usage[key] = replace(total, etag=new)
        for counted in runs:
            self._note(counted)
            self._tables.uncounted.discard(counted.run.run_id)
            self._tables.tell_watchers("ledger.record", counted.run.run_id)

    def _choose_rows(self, runs: Sequence[CountedRun]) -> dict[UsageKey, list[Run]]:
        """Return the runs of each usage row; the first run chooses the bucket of all of them."""
        number = hashlib.sha256(runs[0].run.run_id.encode()).digest()[0] % USAGE_BUCKETS
        days: dict[UsageKey, list[Run]] = {}
        for counted in runs:
            key = _make_usage_key(counted, number)
            days.setdefault(key, []).append(counted.run)
        return days

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


def _make_usage_key(counted: CountedRun, bucket: int) -> UsageKey:
    """Return the key of the usage row: the agent, the day of the run's end, the bucket, the owner
    and the model."""
    run = counted.run
    return run.agent_id, find_usage_day(run), bucket, counted.owner, run.model or ""


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
