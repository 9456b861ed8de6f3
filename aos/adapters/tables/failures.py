"""Keeps why messages were given up in the table `aosfailures`. Entry point: `AzureFailureStore`.

Partition: the entity, with `|` for `/`, which a key cannot hold. Row: the sequence number in twenty
digits.
"""

from __future__ import annotations

from typing import Any

from aos.adapters.tables.account import Entity, Table
from aos.adapters.tables.rows import check_schema, document, pack
from aos.domain.codec import decode, encode
from aos.domain.dead_letters import Failure

DIGITS = 20
MOST = 10**DIGITS - 1


class AzureFailureStore:
    """The reasons. Implements `FailureStore`."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def list(self, entity: str, *, first: int, last: int | None) -> list[Failure]:
        """Return the rows from `first` to `last`. One call for each 1,000."""
        rows = await self._table.query(
            "PartitionKey eq @entity and RowKey ge @first and RowKey le @last",
            entity=_name_partition(entity),
            first=_name_row(first),
            last=_name_row(MOST if last is None else last),
        )
        return [_read_failure(row) for row in rows]

    async def put(self, failure: Failure) -> None:
        """Write the row, whether or not it exists. One call."""
        await self._table.put(_write_entity(failure))

    async def drop(self, entity: str, sequence_number: int) -> None:
        """Delete the row if it exists. One call."""
        await self._table.delete(_name_partition(entity), _name_row(sequence_number))


def _name_partition(entity: str) -> str:
    return entity.replace("/", "|")


def _name_row(sequence_number: int) -> str:
    return f"{sequence_number:0{DIGITS}d}"


def _write_entity(failure: Failure) -> dict[str, Any]:
    (packed,) = pack([encode(failure)])
    return packed.entity(_name_partition(failure.entity), _name_row(failure.sequence_number))


def _read_failure(row: Entity) -> Failure:
    check_schema(row)
    return decode(Failure, document(row))
