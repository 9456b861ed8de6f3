"""The part of KQL that tests evaluate answers as Azure does, and refuses what Azure refuses."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.kql import KqlError, run
from tests.kql.values import Dynamic


def row(minute: int, name: str, **properties: str) -> dict[str, Any]:
    return {
        "timestamp": datetime(2026, 1, 1, 12, minute, 30, tzinfo=UTC),
        "name": name,
        "url": f"https://x/api/{name}",
        "success": name != "bad",
        "duration": float(minute),
        "customDimensions": Dynamic(properties),
    }


TABLES = {"t": [row(1, "One", tool="echo"), row(4, "bad"), row(6, "two", tool="echo")], "u": []}


def names(query: str) -> list[Any]:
    return [found["name"] for found in run(query, TABLES)]


@pytest.mark.parametrize(
    ("test", "found"),
    [
        ('name == "one"', []),
        ('name contains "ONE"', ["One"]),
        ('name !contains "o"', ["bad"]),
        ('url endswith "/API/TWO" and success == true', ["two"]),
        ('name startswith "b" or name startswith "t"', ["bad", "two"]),
        ('(name startswith "b" or name startswith "t") and success==false', ["bad"]),
        ('name in ("two", "One")', ["One", "two"]),
        ("isempty(customDimensions.tool)", ["bad"]),
        ("isnotempty(customDimensions.other)", []),
        ("duration >= 4 and duration < 6.5", ["bad", "two"]),
        ('name != "bad" // a comment', None),
    ],
)
def test_rows_are_filtered(test: str, found: list[str] | None) -> None:
    if found is None:
        with pytest.raises(KqlError):
            run(f"t | where {test}", TABLES)
        return
    assert names(f"t\n| where {test}") == found


def test_groups_are_counted_by_time_and_by_properties() -> None:
    query = (
        "t | extend tool = tostring(customDimensions.tool)"
        " | summarize count(), bad=countif(success == false) by bin(timestamp, 5m), tool"
        " | render timechart"
    )
    at = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    assert run(query, TABLES) == [
        {"timestamp": at, "tool": "echo", "count_": 1, "bad": 0},
        {"timestamp": at, "tool": "", "count_": 1, "bad": 1},
        {"timestamp": at.replace(minute=5), "tool": "echo", "count_": 1, "bad": 0},
    ]


def test_columns_are_named_and_calculated_as_in_azure() -> None:
    by = "tostring(customDimensions.tool), bin(timestamp, 1h)"
    found = run(f"t | summarize count() by {by}", TABLES)
    assert set(found[0]) == {"customDimensions_tool", "timestamp", "count_"}
    query = "t | summarize total = sum(duration), most = percentile(duration, 95), n = count()"
    assert run(query, TABLES) == [{"total": 11.0, "most": 6.0, "n": 3}]
    assert run(f"{query} | project rate = n * 100.0 / total", TABLES) == [
        {"rate": pytest.approx(300 / 11)}
    ]
    assert names("t | order by timestamp desc | take 2") == ["two", "bad"]


def test_without_rows_a_summary_has_one_row_without_groups_and_none_with_them() -> None:
    assert run("u | summarize n = count()", TABLES) == [{"n": 0}]
    assert run("u | summarize n = count() by name", TABLES) == []


def test_a_union_says_from_which_table_a_row_is() -> None:
    query = "union isfuzzy=true withsource=table t, u | summarize n = count() by table"
    assert run(query, TABLES) == [{"table": "t", "n": 3}]


@pytest.mark.parametrize(
    "query",
    [
        "v | where name == 1",
        "t | where other == 1",
        "t | where name.part == 1",
        "t | where near(name)",
        "t | summarize most(name)",
        "t | join u",
        "t | where (name == 1",
        "t | where",
        "t | where name ~ 1",
        "t | take 1 2",
    ],
)
def test_what_is_not_known_is_an_error(query: str) -> None:
    with pytest.raises(KqlError):
        run(query, TABLES)
