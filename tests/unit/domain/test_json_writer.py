"""What goes out as JSON can be read by everybody."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aos.domain.json_writer import known_json, write_json
from tests.texts import texts

AOS = Path(__file__).parents[3] / "aos"
_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | texts(max_size=8) | st.just("\ud800")
)
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner) | st.dictionaries(texts(max_size=4), inner), max_leaves=9
)


def _refuse(name: str) -> Any:
    raise AssertionError(f"{name} is not JSON")


@given(_VALUES)
def test_whatever_is_written_holds_no_number_that_json_does_not_know(value: Any) -> None:
    read = json.loads(write_json({"value": value}), parse_constant=_refuse)
    assert set(read) == {"value"}


@given(_VALUES)
def test_a_known_value_is_utf8_and_known_already(value: Any) -> None:
    known = known_json(value)
    assert known_json(known) == known
    json.dumps(known, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (float("inf"), '{"a":["Infinity"]}'),
        (float("-inf"), '{"a":["-Infinity"]}'),
        (float("nan"), '{"a":["NaN"]}'),
        (10**5000, '{"a":["a number with thousands of digits"]}'),
        (1.5, '{"a":[1.5]}'),
    ],
    ids=["inf", "-inf", "nan", "thousands of digits", "known"],
)
def test_a_number_that_json_does_not_know_is_written_as_a_text(value: Any, written: str) -> None:
    assert write_json({"a": [value]}, separators=(",", ":")) == written


def test_an_integer_that_no_double_holds_is_made_a_text_where_it_comes_in() -> None:
    assert known_json([10**400]) == [f"{'1' + '0' * 39}… (401 digits)"]


def test_half_a_surrogate_pair_is_replaced_where_it_comes_in() -> None:
    assert known_json({"\ud800": ["a\udfff"]}) == {"?": ["a?"]}


def test_all_json_of_the_apps_is_written_in_one_place() -> None:
    found = [
        f"{path.relative_to(AOS)}:{node.lineno}"
        for path in AOS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in ("dumps", "dump", "JSONEncoder")
        and isinstance(node.value, ast.Name)
        and node.value.id == "json"
    ]
    assert {place.partition(":")[0] for place in found} == {"domain/json_writer.py"}, found
