"""How are the lists kept, table `aosindex`?

Partitions `agent:<id>`, `owner:<hash>` and `everybody`. A run's row is `<inverted time>-<run_id>`,
so that the newest comes first; `conversation:` before it marks the row of a conversation's first
run, and `first:<conversation_id>` in `everybody` says which run that is.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Any

from aos.adapters.tables.account import Entity, Table
from aos.adapters.tables.grouped import GroupedWrites
from aos.adapters.tables.rows import SCHEMA, check_schema
from aos.domain.run import AdmittedRequest, required_time, to_wire_time
from aos.errors import OutcomeUnknown, StaleWrite
from aos.ports import IndexedRun, IndexPage

EVERYBODY = "everybody"
CONVERSATION = "conversation:"
END = 253_402_300_800_000
"""The year 10000 in milliseconds: times are counted down from it."""
FIRSTS_REMEMBERED = 4096
LONGEST_TOKEN = 100
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = required_time("1970-01-01T00:00:00.000Z")


class AzureRunIndex:
    """The lists, newest first: a `RunIndex`."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._writes = GroupedWrites(table)
        self._firsts: OrderedDict[str, str] = OrderedDict()

    async def add(self, request: AdmittedRequest) -> None:
        """Enter an admitted run; entering it again changes nothing.

        Three calls at once, one a partition, which runs entered at the same time share; before
        them one look, where this process does not know the conversation's first run.
        """
        key = _key(request)
        keys = [key]
        if await self._is_first(request):
            keys.append(f"{CONVERSATION}{key}")
        columns = _columns(request)
        await asyncio.gather(
            self._writes.put(f"agent:{request.agent_id}", {key: columns}),
            self._writes.put(_owner(request.owner), dict.fromkeys(keys, columns)),
            self._writes.put(EVERYBODY, dict.fromkeys(keys, columns) | self._marker(request)),
        )

    async def runs(
        self,
        *,
        agent_id: str | None,
        owner: str | None,
        since: datetime | None,
        after: str | None,
        limit: int,
    ) -> IndexPage:
        """Runs of an agent, of an owner, of both, or (both None) of everybody."""
        partition, extra, parameters = EVERYBODY, "", {}
        if owner is not None:
            partition = _owner(owner)
            if agent_id is not None:
                extra, parameters = " and agent_id eq @agent", {"agent": agent_id}
        elif agent_id is not None:
            partition = f"agent:{agent_id}"
        end = "A"  # after every digit
        if since is not None:
            end = _inverted(since + timedelta(microseconds=999), later=1)
        return await self._page(
            partition, after=after, end=end, limit=limit, extra=extra, **parameters
        )

    async def conversations(self, *, owner: str | None, after: str | None, limit: int) -> IndexPage:
        """One item a conversation (its first run), newest first."""
        partition = EVERYBODY if owner is None else _owner(owner)
        return await self._page(partition, prefix=CONVERSATION, after=after, end="A", limit=limit)

    async def _page(
        self,
        partition: str,
        *,
        prefix: str = "",
        after: str | None,
        end: str,
        limit: int,
        extra: str = "",
        **parameters: str,
    ) -> IndexPage:
        """The rows behind `after` and before `end`; one more is read to know whether it ends."""
        rows = await self._table.query(
            f"PartitionKey eq @partition and RowKey gt @after and RowKey lt @end{extra}",
            limit=limit + 1,
            partition=partition,
            after=prefix + (after or "")[:LONGEST_TOKEN],
            end=prefix + end,
            **parameters,
        )
        items = rows[:limit]
        more = len(rows) > limit and items
        return IndexPage(
            items=[_indexed(row) for row in items],
            next=items[-1]["RowKey"].removeprefix(prefix) if more else None,
        )

    async def _is_first(self, request: AdmittedRequest) -> bool:
        """Whether a run began its conversation: one without an id given did."""
        conversation_id, run_id = request.conversation_id, request.run_id
        if conversation_id == run_id:
            self._remember(conversation_id, run_id)
            return True
        if conversation_id not in self._firsts:
            self._remember(conversation_id, await self._first_run(request))
        return self._firsts[conversation_id] == run_id

    async def _first_run(self, request: AdmittedRequest) -> str:
        """The first run of the conversation; the one at hand where none is known."""
        row = f"first:{request.conversation_id}"
        found = await self._table.get(EVERYBODY, row)
        if found is None:
            marker = {"PartitionKey": EVERYBODY, "RowKey": row, **_columns(request)}
            try:
                await self._table.insert(marker)
            except (StaleWrite, OutcomeUnknown):
                found = await self._table.get(EVERYBODY, row)
        return request.run_id if found is None else str(found["run_id"])

    def _marker(self, request: AdmittedRequest) -> dict[str, dict[str, Any]]:
        """The row that names a conversation's first run, where it needs no look."""
        if request.conversation_id != request.run_id:
            return {}
        return {f"first:{request.conversation_id}": _columns(request)}

    def _remember(self, conversation_id: str, run_id: str) -> None:
        self._firsts[conversation_id] = run_id
        while len(self._firsts) > FIRSTS_REMEMBERED:
            self._firsts.popitem(last=False)


def _owner(owner: str) -> str:
    return f"owner:{hashlib.sha256(owner.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _key(request: AdmittedRequest) -> str:
    return f"{_inverted(request.admitted_at)}-{request.run_id}"


def _inverted(moment: datetime, *, later: int = 0) -> str:
    """A time, in milliseconds, such that the later one sorts first."""
    return f"{END - (moment - _EPOCH) // _MILLISECOND + later:015d}"


def _columns(request: AdmittedRequest) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "run_id": request.run_id,
        "conversation_id": request.conversation_id,
        "agent_id": request.agent_id,
        "owner": request.owner,
        "created_at": to_wire_time(request.admitted_at),
    }


def _indexed(entity: Entity) -> IndexedRun:
    check_schema(entity)
    return IndexedRun(
        run_id=entity["run_id"],
        conversation_id=entity["conversation_id"],
        agent_id=entity["agent_id"],
        owner=entity["owner"],
        created_at=required_time(entity["created_at"]),
    )
