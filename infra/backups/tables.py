"""Saves the tables while the apps run, and restores them. Entry points: `save`, `plan`, `restore`.

Azure Tables has no snapshots. The order of reading makes a backup from which the apps can continue:

- `aosruns` before `aospending`: a request in the backup has its pending row in it, too, unless its
  run had ended. The mender drops a pending row without a request after an hour.
- `aosconversations` after `aospending`, then `aosusage`: when the end of a run and its pending row
  are both in the backup, the mender looks at the run once more.
- A conversation that changes during the read is read again until the ETag of its head is the same
  before and after: every write to a conversation changes that ETag in the same transaction.

Blobs that rows refer to are written before the rows, and are read after all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.backups.backup_folder import read_lines, write_lines
from infra.backups.comparison import Change, compare
from infra.backups.entities import from_entity, join_keys, to_entity
from infra.backups.errors import BackupError

if TYPE_CHECKING:
    from azure.data.tables import TableClient, TableEntity, TableServiceClient

FIRST = ("aosruns", "aospending", "aosconversations", "aosusage")
CONVERSATIONS, HEAD = "aosconversations", "head"
FOLDER = "tables"
SKEW = timedelta(minutes=5)
"""How much the clocks of the service and of this machine may differ."""
TRIES = 30
MOST_ROWS, MOST_BYTES = 100, 1_500_000
"""The limits of a transaction. The service accepts 100 rows and 4 MB, in another encoding."""

Row = dict[str, Any]


def save(service: TableServiceClient, folder: Path, *, began: datetime) -> dict[str, int]:
    """Save every table of AOS and return the count of rows for each. Raises BackupError."""
    counts = {}
    for name in _sort_tables(table.name for table in service.list_tables()):
        rows = _read_rows(service.get_table_client(name), name, began)
        counts[name] = write_lines(folder / FOLDER / f"{name}.jsonl", rows)
    if not counts:
        raise BackupError(
            "there is no table of AOS; if the tables are in Cosmos DB, pass --tables-url"
        )
    return counts


def list_saved_tables(folder: Path) -> list[str]:
    """List the tables in the order of a restore. aospending, which starts the mender, is last."""
    names = _sort_tables(path.stem for path in (folder / FOLDER).glob("*.jsonl"))
    return sorted(names, key=lambda name: name == "aospending")


def plan(service: TableServiceClient, folder: Path, table: str) -> Change:
    """Compare a table with the backup."""
    saved = {join_keys(row): _to_text(row) for row in _read_saved(folder, table)}
    there: dict[str, str] = {}
    if table in {found.name for found in service.list_tables()}:
        client = service.get_table_client(table)
        there = {join_keys(row): _to_text(row) for row in map(from_entity, client.list_entities())}
    return compare(table, saved, there)


def restore(service: TableServiceClient, folder: Path, change: Change) -> int:
    """Write the rows that are new or differ, and return their count."""
    service.create_table_if_not_exists(change.what)
    client = service.get_table_client(change.what)
    wanted = {*change.create, *change.differ}
    rows = [row for row in _read_saved(folder, change.what) if join_keys(row) in wanted]
    for batch in _split_into_batches(rows):
        client.submit_transaction(
            [("upsert", to_entity(row), {"mode": "replace"}) for row in batch]
        )
    return len(rows)


def _sort_tables(names: Iterator[str]) -> list[str]:
    ours = sorted(name for name in names if name.startswith("aos"))
    return [
        *(name for name in FIRST if name in ours),
        *(name for name in ours if name not in FIRST),
    ]


def _read_rows(client: TableClient, table: str, began: datetime) -> Iterator[Row]:
    """Read the rows, sorted by their keys."""
    entities = client.list_entities()
    if table != CONVERSATIONS:
        yield from map(from_entity, entities)
        return
    for conversation, group in groupby(entities, key=lambda entity: str(entity["PartitionKey"])):
        found = list(group)
        if max(map(_read_write_time, found)) < began - SKEW:
            yield from map(from_entity, found)
        else:
            yield from _read_unchanged(client, conversation)


def _read_unchanged(client: TableClient, conversation: str) -> list[Row]:
    """Read a conversation again until it did not change during the read."""
    for _ in range(TRIES):
        before = _read_etag(client, conversation)
        found = client.query_entities(
            "PartitionKey eq @conversation", parameters={"conversation": conversation}
        )
        rows = [from_entity(entity) for entity in found]
        if _read_etag(client, conversation) == before:
            return rows
    raise BackupError(
        f"the conversation {conversation} changed in each of {TRIES} reads; run backup.py again"
    )


def _read_write_time(entity: TableEntity) -> datetime:
    # A row without a time may have been written just now.
    return entity.metadata["timestamp"] or datetime.max.replace(tzinfo=UTC)


def _read_etag(client: TableClient, conversation: str) -> str | None:
    from azure.core.exceptions import ResourceNotFoundError

    try:
        return str(client.get_entity(conversation, HEAD).metadata["etag"])
    except ResourceNotFoundError:
        return None


def _read_saved(folder: Path, table: str) -> list[Row]:
    return read_lines(folder / FOLDER / f"{table}.jsonl")


def _get_keys(row: Row) -> tuple[str, str]:
    return row["PartitionKey"], row["RowKey"]


def _to_text(row: Row) -> str:
    return json.dumps(row, sort_keys=True)


def _split_into_batches(rows: list[Row]) -> Iterator[list[Row]]:
    """Split rows into batches of one partition that fit into a transaction."""
    for _, group in groupby(sorted(rows, key=_get_keys), key=lambda row: str(row["PartitionKey"])):
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
