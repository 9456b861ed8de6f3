"""Keeps which replies were sent and how much was used, in the table `aosusage`. Entry point:
`AzureLedger`.

Partition `agent_id`: a row `seen:<run_id>` for each run whose end is delivered, and 16 rows for
each day, owner and model, `day:<date>:<00-15>:<hash>`, with the usage. Runs that are recorded
together have one transaction and share the row to which the first of them hashes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from aos.adapters.tables.account import Entity, Table, Write, read_etag
from aos.adapters.tables.odata import as_int64
from aos.adapters.tables.pending import hash_bucket, make_bucket_name
from aos.adapters.tables.rows import SCHEMA, check_schema
from aos.adapters.tables.usage import read_usage
from aos.domain.runs.run import Run, Usage
from aos.domain.usage import find_usage_day
from aos.domain.wire_time import to_wire_time
from aos.ports.ledger import CountedRun, SeenRun

DAYS_REMEMBERED = 4096


@dataclass(slots=True)
class _Day:
    """The last known row of a day. `etag` is None if the row does not exist.

    At first the row is taken for a new one, which saves reading it: most rows are of owners with a
    few runs a day. If it exists, the transaction fails.
    """

    known: bool = True
    etag: str | None = None
    runs: int = 0
    usage: Usage = field(default_factory=Usage)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class AzureLedger:
    """The replies sent and the usage counted, once for each run. Implements `Ledger`.

    The row of the day is cached between writes, which saves reading it. If another instance changed
    it meanwhile, the whole transaction fails and the row is read again.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._days: OrderedDict[tuple[str, str], _Day] = OrderedDict()

    async def is_recorded(self, run: Run) -> bool:
        """Return whether `seen:<run_id>` exists. One call."""
        entity = await self._table.get(run.agent_id, _name_seen_row(run), select=["schema"])
        return entity is not None

    async def find(self, run: Run) -> SeenRun | None:
        """Return what `seen:<run_id>` says, or None. One call."""
        row = _name_seen_row(run)
        entity = await self._table.get(run.agent_id, row, select=["told", "counted"])
        if entity is None:
            return None
        told, counted = bool(entity.get("told")), entity.get("counted") is not False
        return SeenRun(told=told, counted=counted, etag=read_etag(entity))

    async def note_sent(self, sent: CountedRun) -> None:
        """Write `seen:<run_id>` alone. Raises StaleWrite if there is a row. One call."""
        await self._table.insert({**_make_seen_row(sent), "counted": False})

    async def record(self, *runs: CountedRun) -> None:
        """Write `seen:<run_id>` of runs of one agent, and add the usage. Raises StaleWrite if
        another wrote meanwhile.

        It takes one call, and one more to read each row of a day after a failure.
        """
        agent_id, bucket = runs[0].run.agent_id, hash_bucket(runs[0].run.run_id)
        rows: dict[str, list[CountedRun]] = {}
        for counted in runs:
            rows.setdefault(_name_day_row(counted, bucket), []).append(counted)
        days = {row: self._get_day(agent_id, row) for row in sorted(rows)}
        async with contextlib.AsyncExitStack() as locks:
            for day in days.values():
                await locks.enter_async_context(day.lock)
            for row, day in days.items():
                if not day.known:
                    _read(day, await self._table.get(agent_id, row))
            for day in days.values():
                day.known = False  # unknown until the answer arrives
            totals = [_Total.of(row, day, rows[row]) for row, day in days.items()]
            writes = [
                *(total.make_write() for total in totals),
                *map(_write_seen_row, runs),
            ]
            etags = await self._table.transact(writes)
            for total, etag in zip(totals, etags, strict=False):
                day = total.day
                day.known, day.etag, day.runs, day.usage = True, etag, total.runs, total.usage

    def _get_day(self, agent_id: str, row: str) -> _Day:
        key = (agent_id, row)
        day = self._days.pop(key, None) or _Day()
        self._days[key] = day
        while len(self._days) > DAYS_REMEMBERED:
            self._days.popitem(last=False)
        return day


@dataclass(frozen=True, slots=True, kw_only=True)
class _Total:
    """The row of a day with more runs than `day` knows."""

    row: str
    day: _Day
    counted: CountedRun
    runs: int
    usage: Usage

    @classmethod
    def of(cls, row: str, day: _Day, more: Sequence[CountedRun]) -> _Total:
        """Add runs of one owner and model to a day."""
        usage = sum((counted.run.usage for counted in more), day.usage)
        runs = day.runs + len(more)
        return cls(row=row, day=day, counted=more[0], runs=runs, usage=usage)

    def make_write(self) -> Write:
        """Return the write of the row in the place of the one that is known."""
        entity = {
            "PartitionKey": self.counted.run.agent_id,
            "RowKey": self.row,
            "schema": SCHEMA,
            "owner": self.counted.owner,
            "model": self.counted.run.model or "",
            "runs": as_int64(self.runs),
            "input_tokens": as_int64(self.usage.input_tokens),
            "output_tokens": as_int64(self.usage.output_tokens),
            "cached_tokens": as_int64(self.usage.cached_tokens),
            "reasoning_tokens": as_int64(self.usage.reasoning_tokens),
        }
        etag = self.day.etag
        return Write(entity=entity, etag=etag, insert=etag is None, merge=True)


def _write_seen_row(counted: CountedRun) -> Write:
    row = _make_seen_row(counted)
    if counted.etag is None:
        return Write(entity=row, insert=True)
    return Write(entity={**row, "counted": True}, etag=counted.etag, merge=True)


def _make_seen_row(counted: CountedRun) -> Entity:
    run = counted.run
    return {
        "PartitionKey": run.agent_id,
        "RowKey": _name_seen_row(run),
        "schema": SCHEMA,
        "status": run.status.value,
        "ended_at": to_wire_time(run.ended_at),
        "told": counted.told,
    }


def _read(day: _Day, entity: Entity | None) -> None:
    """Take over the values in the table."""
    if entity is None:
        day.etag, day.runs, day.usage = None, 0, Usage()
        return
    check_schema(entity)
    day.etag = read_etag(entity)
    day.runs = entity["runs"]
    day.usage = read_usage(entity)


def _name_seen_row(run: Run) -> str:
    return f"seen:{run.run_id}"


def _name_day_row(counted: CountedRun, bucket: int) -> str:
    run = counted.run
    names = f"{counted.owner}\0{run.model or ''}".encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(names).hexdigest()[:32]
    return f"day:{find_usage_day(run)}:{make_bucket_name(bucket)}:{digest}"
