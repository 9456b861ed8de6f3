"""Azurite with the laptop's savings of memory keeps what Azurite keeps, in the same files."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from devhost.azurite import MEMORY
from tests.contract.azurite import Azurite, running_azurite

ROWS: list[dict[str, Any]] = [
    {"PartitionKey": "it's", "RowKey": "\u00fc \U0001f600", "text": 'a "quote"\n', "count": 7},
    {"PartitionKey": "a", "RowKey": "long", "text": "x" * 30_000, "is_true": False},
    {"PartitionKey": "a", "RowKey": "none"},
]
DATABASE = "__azurite_db_table__.json"
SAVE_SECONDS = 30.0


def write(azurite: Azurite) -> None:
    with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        table = tables.create_table("kept")
        for row in ROWS:
            table.create_entity(row)
        tables.create_table("empty")
    with BlobServiceClient.from_connection_string(azurite.connection_string) as blobs:
        blobs.create_container("kept").upload_blob("a/b", b"a blob")
    with QueueServiceClient.from_connection_string(azurite.connection_string) as queues:
        queues.create_queue("kept").send_message("a message")


def read(azurite: Azurite) -> tuple[list[dict[str, Any]], list[str], bytes, str]:
    with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        rows = [dict(row) for row in tables.get_table_client("kept").list_entities()]
        names = sorted(table.name for table in tables.list_tables())
    with BlobServiceClient.from_connection_string(azurite.connection_string) as blobs:
        body = blobs.get_blob_client("kept", "a/b").download_blob().readall()
    with QueueServiceClient.from_connection_string(azurite.connection_string) as queues:
        [message] = queues.get_queue_client("kept").peek_messages()
    by_keys = sorted(rows, key=lambda row: (row["PartitionKey"], row["RowKey"]))
    return by_keys, names, body, message.content


def test_each_of_them_reads_what_the_other_kept(tmp_path: Path) -> None:
    with running_azurite(location=tmp_path, preload=MEMORY) as azurite:
        write(azurite)
        written = read(azurite)
    with running_azurite(location=tmp_path) as azurite:
        assert read(azurite) == written
    with running_azurite(location=tmp_path, preload=MEMORY) as azurite:
        assert read(azurite) == written
    rows, names, body, message = written
    wanted = sorted(ROWS, key=lambda row: (row["PartitionKey"], row["RowKey"]))
    assert (rows, names, body, message) == (wanted, ["empty", "kept"], b"a blob", "a message")


def test_rows_are_kept_while_it_runs(tmp_path: Path) -> None:
    with running_azurite(location=tmp_path, preload=MEMORY) as azurite:
        write(azurite)
        ends = time.monotonic() + SAVE_SECONDS
        while "none" not in {row["RowKey"] for row in find_kept_rows(tmp_path)}:
            assert time.monotonic() < ends, "the rows were not saved"
            time.sleep(0.1)
    assert len(find_kept_rows(tmp_path)) == len(ROWS)


def find_kept_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows in the file, which is whole at any time."""
    database = json.loads((folder / DATABASE).read_text("utf-8"))
    collections = {each["name"]: each["data"] for each in database["collections"]}
    found: list[dict[str, Any]] = collections.get("devstoreaccount1$kept", [])
    return found
