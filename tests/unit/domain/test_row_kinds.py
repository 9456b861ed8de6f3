"""Every kind of table row is declared, with its end and with what removes it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib import import_module
from operator import attrgetter
from typing import Any

import pytest

from aos.adapters.memory import MemoryTables
from aos.domain.row_kinds import ROW_KINDS, RowKind, find_row_kind
from devhost.provision import TABLES

TABLES_NOT_YET: set[str] = set()


@pytest.mark.parametrize("kind", ROW_KINDS, ids=lambda kind: kind.name)
def test_a_kind_of_row_has_an_end_and_something_that_removes_it(kind: RowKind) -> None:
    assert kind.ends
    module, _, name = kind.removed_by.partition(":")
    assert callable(attrgetter(name)(import_module(module)))


def test_every_table_has_declared_kinds() -> None:
    declared = {kind.table for kind in ROW_KINDS}
    assert declared | TABLES_NOT_YET == set(TABLES)


def test_every_kind_is_kept_in_memory_too() -> None:
    kept = {name for item in fields(MemoryTables) for name in item.metadata.get("rows", ())}
    assert kept == {kind.name for kind in ROW_KINDS}


def test_rows_in_memory_of_a_kind_that_is_not_declared_are_refused() -> None:
    @dataclass(slots=True)
    class More(MemoryTables):
        notes: dict[str, Any] | None = None

    with pytest.raises(KeyError, match="notes"):
        More()


@pytest.mark.parametrize(
    ("table", "partition", "row", "name"),
    [
        ("aosruns", "r1", "run", "aosruns/request"),
        ("aosindex", "everybody", "first:c1", "aosindex/first"),
        ("aostoolcalls", "approvals", "1-r1-c1", "aostoolcalls/waiting"),
        ("aostoolcalls", "r1", "c1:approval", "aostoolcalls/approval"),
        ("aostoolcalls", "r1", "c1", "aostoolcalls/call"),
    ],
)
def test_the_kind_of_a_row_is_found_by_its_keys(
    table: str, partition: str, row: str, name: str
) -> None:
    assert find_row_kind(table, partition, row).name == name


def test_a_row_of_no_declared_kind_is_an_error() -> None:
    with pytest.raises(KeyError, match="ROW_KINDS"):
        find_row_kind("aosruns", "r1", "note")
