"""Runs backup.py and reads what is in a storage account."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any
from unittest import mock

from azure.core.exceptions import ResourceExistsError
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient

from devhost.provision import CONTAINERS, TABLES

REPOSITORY = Path(__file__).parents[3]
STORAGE = "AZURE_STORAGE_CONNECTION_STRING"
PASSPHRASE = "correct horse battery"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What backup.py printed, and its exit code."""

    code: int
    out: str
    err: str


def backup(*arguments: str | Path, **environment: str) -> Said:
    """Run backup.py in this process, with nothing of AOS or Azure in its environment but this."""
    from infra.backups import cli

    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, _environment(environment), clear=True),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = cli.main([*map(str, arguments)])
    return Said(code=code, out=out.getvalue(), err=err.getvalue())


def backup_process(*arguments: str | Path, **environment: str) -> Said:
    """Run infra/backup.py as anybody would."""
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "infra" / "backup.py"), *map(str, arguments)],
        env=_environment(environment),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return Said(code=done.returncode, out=done.stdout, err=done.stderr)


def _environment(given: dict[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, **given}


class Storage:
    """A storage account, emptied for one test."""

    def __init__(self, connection_string: str) -> None:
        """Empty it."""
        self.connection_string = connection_string
        self.blobs = BlobServiceClient.from_connection_string(connection_string)
        self.tables = TableServiceClient.from_connection_string(connection_string)
        for container in self.blobs.list_containers():
            client = self.blobs.get_container_client(container)
            for blob in list(client.list_blobs()):
                client.delete_blob(str(blob.name))
        for table in list(self.tables.list_tables()):
            client = self.tables.get_table_client(table.name)
            for batch in _batches(list(client.list_entities(select=["PartitionKey", "RowKey"]))):
                client.submit_transaction([("delete", row) for row in batch])

    def close(self) -> None:
        """Close its clients."""
        self.blobs.close()
        self.tables.close()

    @property
    def environment(self) -> dict[str, str]:
        """What leads backup.py here."""
        return {STORAGE: self.connection_string}

    def provision(self) -> None:
        """The containers and tables of AOS."""
        for name in CONTAINERS:
            try:
                self.blobs.create_container(name)
            except ResourceExistsError:
                continue
        for table in TABLES:
            self.tables.create_table_if_not_exists(table)

    def put(self, container: str, name: str, data: bytes, **settings: Any) -> None:
        """Write a blob."""
        self.blobs.get_blob_client(container, name).upload_blob(data, overwrite=True, **settings)

    def row(self, table: str, **values: Any) -> None:
        """Write a row."""
        self.tables.get_table_client(table).upsert_entity(values)

    def rows(self, table: str, partition: str, rows: dict[str, str]) -> None:
        """Write many rows of a partition: row key and document."""
        client = self.tables.get_table_client(table)
        entities = [
            {"PartitionKey": partition, "RowKey": key, "doc": doc} for key, doc in rows.items()
        ]
        for batch in _batches(entities):
            client.submit_transaction([("upsert", entity) for entity in batch])

    def contents(self) -> dict[str, object]:
        """All blobs and rows of AOS, by name."""
        found: dict[str, object] = {}
        for container in CONTAINERS:
            client = self.blobs.get_container_client(container)
            if client.exists():
                for blob in client.list_blobs():
                    found[f"{container}/{blob.name}"] = client.download_blob(blob.name).readall()
        for table in self.tables.list_tables():
            for row in self.tables.get_table_client(table.name).list_entities():
                found[f"{table.name}/{row['PartitionKey']}/{row['RowKey']}"] = dict(row)
        return found


def _batches(rows: list[Any]) -> Iterator[list[Any]]:
    for _, group in groupby(rows, key=lambda row: row["PartitionKey"]):
        found = list(group)
        for start in range(0, len(found), 100):
            yield found[start : start + 100]
