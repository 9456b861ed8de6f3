"""Keeps which replies were sent and how much was used, in the table `aosusage`. Entry point:
`AzureLedger`.

Partition `agent_id`: a row `seen:<run_id>` for each run whose end is delivered, and 16 rows for
each day, `day:<date>:<00-15>`, with the usage of the runs that hash to them. Both are written in
one transaction.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from aos.adapters.tables.account import Entity, Table, Write, read_etag
from aos.adapters.tables.pending import hash_bucket, make_bucket_name
from aos.adapters.tables.rows import SCHEMA, check_schema
from aos.domain.runs.run import Run
from aos.domain.wire_time import to_wire_time

DAYS_REMEMBERED = 1024


@dataclass(slots=True)
class _Day:
    """The last known row of a day. `etag` is None if the row does not exist or is unknown."""

    known: bool = False
    etag: str | None = None
    runs: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
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

    async def record(self, run: Run) -> None:
        """Write `seen:<run_id>` and add the usage. Raises StaleWrite if another wrote meanwhile.

        It takes one call, and one more if the row of the day is not cached.
        """
        row = _name_day_row(run)
        day = self._get_day(run.agent_id, row)
        async with day.lock:
            if not day.known:
                _read(day, await self._table.get(run.agent_id, row))
            day.known = False  # unknown until the answer arrives
            etag = await self._write(run, row, day)
            day.runs += 1
            day.input_tokens += run.usage.input_tokens
            day.output_tokens += run.usage.output_tokens
            day.etag, day.known = etag, True

    async def _write(self, run: Run, row: str, day: _Day) -> str:
        seen = {
            "PartitionKey": run.agent_id,
            "RowKey": _name_seen_row(run),
            "schema": SCHEMA,
            "status": run.status.value,
            "ended_at": to_wire_time(run.ended_at),
        }
        total = {
            "PartitionKey": run.agent_id,
            "RowKey": row,
            "schema": SCHEMA,
            "runs": _write_number(day.runs + 1),
            "input_tokens": _write_number(day.input_tokens + run.usage.input_tokens),
            "output_tokens": _write_number(day.output_tokens + run.usage.output_tokens),
        }
        etags = await self._table.transact(
            [
                Write(entity=total, etag=day.etag, insert=day.etag is None),
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
        day.etag, day.runs, day.input_tokens, day.output_tokens = None, 0, 0, 0
        return
    check_schema(entity)
    day.etag = read_etag(entity)
    day.runs = entity["runs"].value
    day.input_tokens = entity["input_tokens"].value
    day.output_tokens = entity["output_tokens"].value


def _write_number(value: int) -> tuple[int, Any]:
    """Return a number that may exceed 2^31 in the SDK's form."""
    from azure.data.tables import EdmType

    return value, EdmType.INT64


def _name_seen_row(run: Run) -> str:
    return f"seen:{run.run_id}"


def _name_day_row(run: Run) -> str:
    day = (to_wire_time(run.ended_at) or "")[:10]
    return f"day:{day}:{make_bucket_name(hash_bucket(run.run_id))}"
