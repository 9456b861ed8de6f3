"""Azurite with the laptop's indexes answers as Azurite does."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.data.tables import TableClient, UpdateMode

from devhost.azurite import ROWS
from tests.contract.azurite import Azurite, running_azurite

PARTITIONS = ("a", "b", "it's", "00", "0", "1e1", "10", "")
KEYS = ("head", "msg:0000000001", "msg:0000000002", "run:x", "7", "07", "it's", "")
QUERIES = (
    "PartitionKey eq 'a'",
    "PartitionKey eq 'a' and RowKey ge 'msg:' and RowKey lt 'msg;'",
    "RowKey ge 'msg:' and RowKey lt 'msg;'",
    "RowKey gt 'msg:0000000001' and RowKey le 'msg:0000000002' and PartitionKey ne 'a'",
    "RowKey gt '!' and RowKey lt 'n'",
    "RowKey gt 'msg:0000000002' and RowKey lt 'msg:0000000001'",
    "PartitionKey eq 'b' and RowKey gt 'head' and RowKey le 'run:x'",
    "PartitionKey eq 'b' and RowKey lt 'run:x'",
    "PartitionKey eq 'b' and RowKey gt 'head'",
    "RowKey le 'undefined'",
    "PartitionKey eq 'it''s' and RowKey eq 'it''s'",
    "PartitionKey eq '00'",
    "PartitionKey eq '0' or PartitionKey eq 'b'",
    "PartitionKey eq 'a' and (RowKey eq 'head' or RowKey eq '7')",
    "PartitionKey eq 'a' and not (RowKey eq 'head')",
    "PartitionKey eq 'a' and text ne ' or not '",
    "PartitionKey eq ''",
    "PartitionKey eq 'nobody'",
    "PartitionKey ge 'a'",
    "RowKey eq 'head'",
    "text eq 'PartitionKey'",
)
"""Filters of the forms that our stores use, and others."""


@pytest.fixture(scope="module")
def tables(azurite: Azurite) -> Iterator[tuple[TableClient, TableClient]]:
    """A table in Azurite as it is, and one in Azurite with the indexes: with the same rows."""
    with running_azurite(preload=ROWS) as indexed:
        clients = [
            TableClient.from_connection_string(each.connection_string, "indexes")
            for each in (azurite, indexed)
        ]
        for client in clients:
            client.create_table()
            for partition, key in itertools.product(PARTITIONS, KEYS):
                row = {"PartitionKey": partition, "RowKey": key, "text": f"{partition}/{key}"}
                client.create_entity(row)
        plain, fast = clients
        yield plain, fast
        for client in clients:
            client.close()


@pytest.mark.parametrize("condition", QUERIES)
def test_a_query_finds_the_same_rows_in_the_same_order(
    tables: tuple[TableClient, TableClient], condition: str
) -> None:
    plain, fast = (
        [row["text"] for row in table.query_entities(condition, results_per_page=3)]
        for table in tables
    )
    assert fast == plain


@pytest.mark.parametrize("partition", ["a", "it's", "0", "nobody"])
def test_single_rows_are_read_and_written_alike(
    tables: tuple[TableClient, TableClient], partition: str
) -> None:
    for key in (*KEYS, "nothing", "new"):
        row = {"PartitionKey": partition, "RowKey": key, "text": "changed"}
        works: list[Callable[[TableClient], Any]] = [
            lambda table, key=key: table.get_entity(partition, key)["text"],
            lambda table, row=row: table.update_entity(
                row, etag='W/"1"', match_condition=MatchConditions.IfNotModified
            ),
            lambda table, row=row: table.upsert_entity(row, mode=UpdateMode.REPLACE) and None,
            lambda table, row=row: table.create_entity(row) and None,
            lambda table, key=key: table.get_entity(partition, key)["text"],
            lambda table, key=key: table.delete_entity(partition, key),
        ]
        for work in works:
            plain, fast = (attempt(work, table) for table in tables)
            assert fast == plain
    assert count(tables[0]) == count(tables[1])


def attempt(work: Callable[[TableClient], Any], table: TableClient) -> Any:
    """What it returns, or the code of its error."""
    try:
        return work(table)
    except HttpResponseError as error:
        return error.status_code


def count(table: TableClient) -> int:
    return sum(1 for _ in table.list_entities())
