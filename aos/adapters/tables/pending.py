"""Keeps pending rows in the table `aospending`. Entry point: `AzurePendingStore`.

There are sixteen partitions, `00` to `15` by the hash of the run id, with rows `run_id`. The mender
reads all of them in one query. If its limit ended a query, the next query begins there, so that
every partition gets its turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from aos.adapters.tables.account import MOST_ROWS, Entity, Table, Write, read_etag
from aos.adapters.tables.rows import SCHEMA, check_schema
from aos.domain.codec import decode, encode
from aos.domain.wire_time import to_wire_time
from aos.errors import StaleWrite
from aos.ports.requests import PendingRun

BUCKETS = 16
DUE = f"next_check le @now and schema le {SCHEMA}"


class AzurePendingStore:
    """The pending rows. Implements `PendingStore`."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._begin = make_bucket_name(0)

    async def put(self, pending: PendingRun) -> None:
        """Write the row, whether or not it exists. One call."""
        await self._table.put(_write_entity(pending))

    async def list_due(self, now: datetime, *, limit: int) -> list[PendingRun]:
        """Return at most `limit` rows with `next_check` <= now, the longest overdue first.

        It takes one call if the last query was not full, else two. Rows that only a newer version
        can read are skipped.
        """
        moment, begin = str(to_wire_time(now)), self._begin
        found = await self._table.query(
            f"{DUE} and PartitionKey ge @begin", limit=limit, now=moment, begin=begin
        )
        if begin != make_bucket_name(0) and len(found) < limit:
            found += await self._table.query(
                f"{DUE} and PartitionKey lt @begin",
                limit=limit - len(found),
                now=moment,
                begin=begin,
            )
        full = len(found) >= limit and found
        self._begin = found[-1]["PartitionKey"] if full else make_bucket_name(0)
        rows = [_read_pending(entity) for entity in found]
        return sorted(rows, key=lambda row: (row.next_check, row.run_id))

    async def move(self, pending: PendingRun, *, next_check: datetime) -> None:
        """Set the next check to `next_check`. Raises StaleWrite if the row changed. One call."""
        moved = {
            **_write_entity(pending),
            "next_check": to_wire_time(next_check),
            "checks": pending.checks + 1,
        }
        await self._table.merge(moved, etag=pending.etag or "")

    async def drop(self, run_id: str, *, etag: str | None = None) -> None:
        """Delete the row if it exists. Raises StaleWrite if its ETag is not `etag`. One call."""
        await self._table.delete(_name_bucket(run_id), run_id, etag=etag)

    async def drop_all(self, run_ids: Sequence[str]) -> None:
        """Delete these rows, as far as they exist. One call for each partition, all at once.

        If a row of a partition is gone already, its transaction fails, and each of its rows takes
        one more call.
        """
        buckets = defaultdict(list)
        for run_id in run_ids:
            buckets[_name_bucket(run_id)].append(run_id)
        await asyncio.gather(
            *(
                self._drop_some(bucket, found[start : start + MOST_ROWS])
                for bucket, found in buckets.items()
                for start in range(0, len(found), MOST_ROWS)
            )
        )

    async def _drop_some(self, bucket: str, run_ids: Sequence[str]) -> None:
        if len(run_ids) > 1:
            rows = [{"PartitionKey": bucket, "RowKey": run_id} for run_id in run_ids]
            with contextlib.suppress(StaleWrite):  # one of them is gone: none was deleted
                await self._table.transact([Write(entity=row, delete=True) for row in rows])
                return
        for run_id in run_ids:
            await self._table.delete(bucket, run_id)


def make_bucket_name(number: int) -> str:
    """Return the partition of a bucket, `00` to `15`."""
    return f"{number:02d}"


def hash_bucket(run_id: str) -> int:
    """Return the bucket of a run, one of sixteen."""
    return hashlib.sha256(run_id.encode()).digest()[0] % BUCKETS


def _name_bucket(run_id: str) -> str:
    return make_bucket_name(hash_bucket(run_id))


def _write_entity(pending: PendingRun) -> dict[str, Any]:
    return {
        "PartitionKey": _name_bucket(pending.run_id),
        "RowKey": pending.run_id,
        "schema": SCHEMA,
        **encode(pending, without=("run_id", "etag")),
    }


def _read_pending(entity: Entity) -> PendingRun:
    check_schema(entity)
    names = {"run_id": entity["RowKey"], "etag": read_etag(entity)}
    return decode(PendingRun, {**entity, **names})
