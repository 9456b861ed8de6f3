"""Keeps which replies were sent and how much was used, in the table `aosusage`. Entry point:
`AzureLedger`.

Partition `agent_id`: a row `seen:<run_id>` for each run whose end is delivered, and 16 rows for
each day, owner and model, `day:<date>:<00-15>:<hash>`, with the usage of the runs that hash to
them. Both are written in one transaction.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

from aos.adapters.tables.account import Entity, Table, Write, read_etag
from aos.adapters.tables.odata import as_int64
from aos.adapters.tables.pending import hash_bucket, make_bucket_name
from aos.adapters.tables.rows import SCHEMA, check_schema
from aos.adapters.tables.usage import read_usage
from aos.domain.runs.run import Run, Usage
from aos.domain.usage import find_usage_day
from aos.domain.wire_time import to_wire_time

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

    async def record(self, run: Run, *, owner: str) -> None:
        """Write `seen:<run_id>` and add the usage. Raises StaleWrite if another wrote meanwhile.

        It takes one call, and one more to read the row of the day after a failure.
        """
        row = _name_day_row(run, owner)
        day = self._get_day(run.agent_id, row)
        async with day.lock:
            if not day.known:
                _read(day, await self._table.get(run.agent_id, row))
            day.known = False  # unknown until the answer arrives
            runs, usage = day.runs + 1, day.usage + run.usage
            total = {
                "PartitionKey": run.agent_id,
                "RowKey": row,
                "schema": SCHEMA,
                "owner": owner,
                "model": run.model or "",
                "runs": as_int64(runs),
                "input_tokens": as_int64(usage.input_tokens),
                "output_tokens": as_int64(usage.output_tokens),
                "cached_tokens": as_int64(usage.cached_tokens),
                "reasoning_tokens": as_int64(usage.reasoning_tokens),
            }
            day.etag = await self._write(run, total, day.etag)
            day.known, day.runs, day.usage = True, runs, usage

    async def _write(self, run: Run, total: Entity, etag: str | None) -> str:
        seen = {
            "PartitionKey": run.agent_id,
            "RowKey": _name_seen_row(run),
            "schema": SCHEMA,
            "status": run.status.value,
            "ended_at": to_wire_time(run.ended_at),
        }
        etags = await self._table.transact(
            [
                Write(entity=total, etag=etag, insert=etag is None, merge=True),
                Write(entity=seen, insert=True),
            ]
        )
        return etags[0]

    def _get_day(self, agent_id: str, row: str) -> _Day:
        key = (agent_id, row)
        day = self._days.pop(key, None) or _Day()
        self._days[key] = day
        while len(self._days) > DAYS_REMEMBERED:
            self._days.popitem(last=False)
        return day


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


def _name_day_row(run: Run, owner: str) -> str:
    names = f"{owner}\0{run.model or ''}".encode("utf-8", "surrogatepass")
    bucket = make_bucket_name(hash_bucket(run.run_id))
    return f"day:{find_usage_day(run)}:{bucket}:{hashlib.sha256(names).hexdigest()[:32]}"
