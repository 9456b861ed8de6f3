"""How are the tables of the state saved while the apps go on, and brought back?

Azure Tables has no snapshot, so the order of reading has to make one that the apps can go on from:

- `aosruns` before `aospending`: a request that is in the backup has its pending row in it too,
  unless its run had ended; a pending row without a request is dropped by the mender after an hour.
- `aosconversations` after `aospending`, `aosusage` after that: a run whose end is in the backup
  and whose pending row is as well is only looked at once more.
- A conversation that changes meanwhile is read again until its head stands still: every write to
  it changes the head's ETag in the same transaction.

Blobs that rows refer to are written before the rows, and are read after all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backups.change import Change, compare
from backups.entities import from_entity, key, to_entity
from backups.errors import BackupError
from backups.folder import read_lines, write_lines

if TYPE_CHECKING:
    from azure.data.tables import TableClient, TableEntity, TableServiceClient

FIRST = ("aosruns", "aospending", "aosconversations", "aosusage")
CONVERSATIONS, HEAD = "aosconversations", "head"
FOLDER = "tables"
SKEW = timedelta(minutes=5)
"""How much the service's clock may differ from ours."""
TRIES = 30
MOST_ROWS, MOST_BYTES = 100, 1_500_000
"""In a transaction; the service takes 100 rows and 4 MB, in another encoding."""

Row = dict[str, Any]


def save(service: TableServiceClient, folder: Path, *, began: datetime) -> dict[str, int]:
    """Save every table of AOS; how many rows each had. Raises BackupError."""
    counts = {}
    for name in _ordered(table.name for table in service.list_tables()):
        rows = _rows(service.get_table_client(name), name, began)
        counts[name] = write_lines(folder / FOLDER / f"{name}.jsonl", rows)
    if not counts:
        raise BackupError("there is no table of AOS; with Cosmos DB, name it: --tables-url")
    return counts


def saved_tables(folder: Path) -> list[str]:
    """The tables of a backup, in the order of a restore: pending rows wake the mender, so last."""
    names = _ordered(path.stem for path in (folder / FOLDER).glob("*.jsonl"))
    return sorted(names, key=lambda name: name == "aospending")


def plan(service: TableServiceClient, folder: Path, table: str) -> Change:
    """What a restore of a table would do."""
    saved = {key(row): _canonical(row) for row in _saved(folder, table)}
    there: dict[str, str] = {}
    if table in {found.name for found in service.list_tables()}:
        client = service.get_table_client(table)
        there = {key(row): _canonical(row) for row in map(from_entity, client.list_entities())}
    return compare(table, saved, there)


def restore(service: TableServiceClient, folder: Path, change: Change) -> int:
    """Write what is new and what differs; how many rows that were."""
    service.create_table_if_not_exists(change.what)
    client = service.get_table_client(change.what)
    wanted = {*change.create, *change.differ}
    rows = [row for row in _saved(folder, change.what) if key(row) in wanted]
    for batch in _batches(rows):
        client.submit_transaction(
            [("upsert", to_entity(row), {"mode": "replace"}) for row in batch]
        )
    return len(rows)


def _ordered(names: Iterator[str]) -> list[str]:
    ours = sorted(name for name in names if name.startswith("aos"))
    return [
        *(name for name in FIRST if name in ours),
        *(name for name in ours if name not in FIRST),
    ]


def _rows(client: TableClient, table: str, began: datetime) -> Iterator[Row]:
    """The rows, sorted by their keys."""
    entities = client.list_entities()
    if table != CONVERSATIONS:
        yield from map(from_entity, entities)
        return
    for conversation, group in groupby(entities, key=lambda entity: str(entity["PartitionKey"])):
        found = list(group)
        if max(map(_written_at, found)) < began - SKEW:
            yield from map(from_entity, found)
        else:
            yield from _at_one_moment(client, conversation)


def _at_one_moment(client: TableClient, conversation: str) -> list[Row]:
    for _ in range(TRIES):
        before = _etag(client, conversation)
        found = client.query_entities(
            "PartitionKey eq @conversation", parameters={"conversation": conversation}
        )
        rows = [from_entity(entity) for entity in found]
        if _etag(client, conversation) == before:
            return rows
    raise BackupError(f"the conversation {conversation} never stood still; try again")


def _written_at(entity: TableEntity) -> datetime:
    # A row without a time may have been written just now.
    return entity.metadata["timestamp"] or datetime.max.replace(tzinfo=UTC)


def _etag(client: TableClient, conversation: str) -> str | None:
    from azure.core.exceptions import ResourceNotFoundError

    try:
        return str(client.get_entity(conversation, HEAD).metadata["etag"])
    except ResourceNotFoundError:
        return None


def _saved(folder: Path, table: str) -> list[Row]:
    return read_lines(folder / FOLDER / f"{table}.jsonl")


def _keys(row: Row) -> tuple[str, str]:
    return row["PartitionKey"], row["RowKey"]


def _canonical(row: Row) -> str:
    return json.dumps(row, sort_keys=True)


def _batches(rows: list[Row]) -> Iterator[list[Row]]:
    """Rows of one partition each, few and small enough for a transaction."""
    for _, group in groupby(sorted(rows, key=_keys), key=lambda row: str(row["PartitionKey"])):
        batch: list[Row] = []
        size = 0
        for row in group:
            length = len(json.dumps(row))
            if batch and (len(batch) == MOST_ROWS or size + length > MOST_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(row)
            size += length
        yield batch
