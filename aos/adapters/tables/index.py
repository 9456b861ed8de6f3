"""Keeps the lists of runs and conversations in the table `aosindex`. Entry point: `AzureRunIndex`.

The partitions are `agent:<id>`, `owner:<hash>` and `everybody`, each with rows `<inverted
time>-<run_id>`, so that the newest comes first. `first` marks the first run of a conversation: the
run that the conversation is named after, else the run in the row `first:<conversation_id>`. Where
another owner has that run, because two began the conversation at once, the partition of each owner
has a row `first:<conversation_id>` of its own; the conversation's head says whose it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from aos.adapters.tables.account import MOST_ROWS, Entity, Table, Write
from aos.adapters.tables.rows import SCHEMA, check_schema, document
from aos.domain.codec import decode, encode
from aos.domain.wire_time import count_milliseconds
from aos.errors import StaleWrite
from aos.ports.index import IndexedRun
from aos.ports.paging import Page

EVERYBODY = "everybody"
AFTER_DIGITS = "A"
END = 253_402_300_800_000
"""The year 10000 in milliseconds. Row keys hold the time until then, so that newer rows come
first."""
FIRSTS_REMEMBERED = 4096
FIRST_STANDS = timedelta(days=1)
"""How long a conversation's first run is taken for the first without a look. After the deletion of
a conversation and 30 days its rows go, and another may begin under its name."""
RUNS_REMEMBERED = 4096
LONGEST_TOKEN = 100
UUID_LENGTH = 36


class _First(NamedTuple):
    """The first run of a conversation, its owner, and the time of the run that it was looked up
    for."""

    run_id: str
    owner: str
    seen_at: datetime


class AzureRunIndex:
    """The lists, newest first. Implements `RunIndex`. `requests` is the table of the request
    rows."""

    def __init__(self, table: Table, *, requests: Table) -> None:
        self._table = table
        self._requests = requests
        self._firsts: OrderedDict[str, _First] = OrderedDict()
        self._entered: OrderedDict[str, None] = OrderedDict()

    async def add(self, *runs: IndexedRun) -> None:
        """Add admitted runs. Adding one again changes nothing.

        It takes one call for each partition and 90 runs, all of them at once: one for everybody,
        one for each agent, one for each owner. Before these, it takes one to three calls for each
        conversation whose first run this process has not looked up for a day, and up to two more if
        another owner began it. Runs that this process has added lately take none.
        """
        conversations: dict[str, list[IndexedRun]] = defaultdict(list)
        for run in sorted(runs, key=lambda run: (run.created_at, run.run_id)):
            if run.run_id not in self._entered:
                conversations[run.conversation_id].append(run)
        made = await asyncio.gather(*map(self._make_rows, conversations.values()))
        partitions: dict[str, list[Entity]] = defaultdict(list)
        for row in itertools.chain.from_iterable(made):
            partitions[row["PartitionKey"]].append(row)
        await asyncio.gather(
            *(
                self._put(rows[start : start + MOST_ROWS])
                for rows in partitions.values()
                for start in range(0, len(rows), MOST_ROWS)
            )
        )
        for run in itertools.chain.from_iterable(conversations.values()):
            self._entered[run.run_id] = None
        while len(self._entered) > RUNS_REMEMBERED:
            self._entered.popitem(last=False)

    async def _make_rows(self, runs: Sequence[IndexedRun]) -> list[Entity]:
        """Return the rows of runs of one conversation, oldest first, in all partitions."""
        rows: list[Entity] = []
        for run in runs:
            first = await self._find_first(run)
            mine = await self._find_first_of_owner(run, first)
            rows += [
                {
                    "PartitionKey": partition,
                    "RowKey": make_key(run),
                    **make_columns(run, first=begins == run.run_id),
                }
                for partition, begins in (
                    (f"agent:{run.agent_id}", first.run_id),
                    (EVERYBODY, first.run_id),
                    (hash_owner(run.owner), mine),
                )
            ]
        return rows

    async def _put(self, rows: Sequence[Entity]) -> None:
        """Write the rows of one partition."""
        if len(rows) == 1:
            await self._table.put(rows[0])
        else:
            await self._table.transact([Write(entity=row) for row in rows])

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
        end = AFTER_DIGITS
        if since is not None:
            end = invert(since + timedelta(microseconds=999), later=1)
        if owner is None:
            partition = EVERYBODY if agent_id is None else f"agent:{agent_id}"
            return await self._page(partition, after=after, end=end, limit=limit)
        if agent_id is None:
            return await self._page(hash_owner(owner), after=after, end=end, limit=limit)
        both = {"extra": " and agent_id eq @agent", "agent": agent_id}
        return await self._page(hash_owner(owner), after=after, end=end, limit=limit, **both)

    async def list_conversations(
        self, *, owner: str | None, after: str | None, limit: int
    ) -> Page[IndexedRun]:
        """List one item (the first run) for each conversation, newest first."""
        partition = EVERYBODY if owner is None else hash_owner(owner)
        return await self._page(
            partition, after=after, end=AFTER_DIGITS, limit=limit, extra=" and first eq true"
        )

    async def find_first(self, conversation_id: str) -> IndexedRun | None:
        """Return the first run of a conversation that is not named after it. One call."""
        row = await self._table.get(EVERYBODY, name_first_row(conversation_id))
        return None if row is None else read_entry(row)

    async def _page(
        self,
        partition: str,
        *,
        after: str | None,
        end: str,
        limit: int,
        extra: str = "",
        **parameters: str,
    ) -> Page[IndexedRun]:
        """Return the rows between `after` and `end`. One more row is read to know whether another
        page follows."""
        rows = await self._table.query(
            f"PartitionKey eq @partition and RowKey gt @after and RowKey lt @end{extra}",
            limit=limit + 1,
            partition=partition,
            after=(after or "")[:LONGEST_TOKEN],
            end=end,
            **parameters,
        )
        items = rows[:limit]
        return Page(
            items=[read_entry(row) for row in items],
            next=items[-1]["RowKey"] if items and len(rows) > limit else None,
        )

    async def _find_first(self, run: IndexedRun) -> _First:
        """Return the first run of the run's conversation."""
        conversation_id = run.conversation_id
        first = self._firsts.pop(conversation_id, None)
        if conversation_id == run.run_id:
            first = _First(run.run_id, run.owner, run.created_at)
        if first is None or run.created_at - first.seen_at > FIRST_STANDS:
            first = await self._look_up_first(run)
        self._firsts[conversation_id] = first
        while len(self._firsts) > FIRSTS_REMEMBERED:
            self._firsts.popitem(last=False)
        return first

    async def _find_first_of_owner(self, run: IndexedRun, first: _First) -> str:
        """Return the owner's first run in the conversation, which another owner may have begun."""
        if first.owner == run.owner:
            return first.run_id
        return (await self._mark_first(run, hash_owner(run.owner))).run_id

    async def _look_up_first(self, run: IndexedRun) -> _First:
        """Return the run that the conversation is named after, else the one that was added
        first."""
        name = run.conversation_id
        if len(name) == UUID_LENGTH:
            named = await self._requests.get(name, "run")
            request = None if named is None else document(named)
            if request is not None and request["conversation_id"] == name:
                return _First(name, request["owner"], run.created_at)
        return await self._mark_first(run, EVERYBODY)

    async def _mark_first(self, run: IndexedRun, partition: str) -> _First:
        """Return the run in the partition's row `first:`; the row is written if there is none."""
        row = name_first_row(run.conversation_id)
        found = await self._table.get(partition, row)
        if found is None:
            marker = {"PartitionKey": partition, "RowKey": row, **make_columns(run, first=True)}
            try:
                await self._table.insert(marker)
            # another writer added the row just now; after OutcomeUnknown, the run's end adds it
            except StaleWrite:
                found = await self._table.get(partition, row)
        if found is None:
            return _First(run.run_id, run.owner, run.created_at)
        return _First(str(found["run_id"]), str(found["owner"]), run.created_at)


def hash_owner(owner: str) -> str:
    """Return the partition of an owner's runs."""
    return f"owner:{hashlib.sha256(owner.encode('utf-8', 'surrogatepass')).hexdigest()}"


def name_first_row(conversation_id: str) -> str:
    """Return the key of the row that marks a conversation's first run."""
    return f"first:{conversation_id}"


def make_key(run: IndexedRun) -> str:
    """Return the key of a run's entry in each list."""
    return f"{invert(run.created_at)}-{run.run_id}"


def invert(moment: datetime, *, later: int = 0) -> str:
    """Invert a time in milliseconds, so that a later time sorts first."""
    return f"{END - count_milliseconds(moment) + later:015d}"


def make_columns(run: IndexedRun, *, first: bool) -> dict[str, Any]:
    """Return the columns of a run's entry."""
    return {"schema": SCHEMA, **encode(run), "first": first}


def read_entry(entity: Entity) -> IndexedRun:
    """Return the run of an entry."""
    check_schema(entity)
    return decode(IndexedRun, entity)
