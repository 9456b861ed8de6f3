"""What model endpoints are offered of a tool: mended, noted, or left out alone."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aos.domain.tools.endpoint_rules import cut_description, fit_tool
from tests.dialects.checks import schema_fault

OBJECT: dict[str, Any] = {"type": "object", "properties": {}}
STRING = {"type": "string"}


@pytest.mark.parametrize(
    ("given", "offered"),
    [
        pytest.param({"type": "object"}, OBJECT, id="no properties"),
        pytest.param({}, OBJECT, id="empty"),
        pytest.param(None, OBJECT, id="none"),
        pytest.param({"type": ["object", "null"]}, OBJECT, id="object or null"),
        pytest.param(
            {"type": "object", "properties": {"a": {"type": "array"}}},
            {"type": "object", "properties": {"a": {"type": "array", "items": {}}}},
            id="array without items",
        ),
        pytest.param(
            {
                "type": "object",
                "properties": {"size": {"type": "array", "prefixItems": [STRING, STRING]}},
            },
            {
                "type": "object",
                "properties": {"size": {"type": "array", "items": {"anyOf": [STRING, STRING]}}},
            },
            id="tuple",
        ),
        pytest.param(
            {
                "type": "object",
                "anyOf": [
                    {"properties": {"id": STRING}, "required": ["id"]},
                    {"properties": {"name": STRING}, "required": ["name"]},
                ],
            },
            {"type": "object", "properties": {"id": STRING, "name": STRING}},
            id="choice at the top",
        ),
        pytest.param(
            {
                "allOf": [
                    {"$ref": "#/$defs/base"},
                    {"properties": {"b": STRING}, "required": ["b"]},
                ],
                "$defs": {
                    "base": {"type": "object", "properties": {"a": STRING}, "required": ["a"]}
                },
            },
            {
                "type": "object",
                "properties": {"a": STRING, "b": STRING},
                "required": ["b", "a"],
            },
            id="allOf with a reference",
        ),
        pytest.param(
            {
                "type": "object",
                "properties": {"node": {"$ref": "#/$defs/node"}},
                "$defs": {
                    "node": {
                        "type": "object",
                        "properties": {"next": {"$ref": "#/$defs/node"}, "v": STRING},
                    }
                },
            },
            {
                "type": "object",
                "properties": {"node": {"type": "object", "properties": {"next": {}, "v": STRING}}},
            },
            id="recursion ends with any value",
        ),
        pytest.param(
            {"type": "object", "properties": {"a": True, "b": False, "c": {"type": "str"}}},
            {"type": "object", "properties": {"a": {}, "c": STRING}},
            id="booleans for schemas and a type of Python's",
        ),
        pytest.param(
            {"type": "object", "properties": {"a": {**STRING, "required": True}}, "required": "a"},
            {"type": "object", "properties": {"a": STRING}},
            id="required in the manner of draft 3",
        ),
    ],
)
def test_a_schema_that_endpoints_refuse_is_mended_and_noted(
    given: object, offered: dict[str, Any]
) -> None:
    before = copy.deepcopy(given)
    fitted = fit_tool("x", given)
    assert (fitted.left_out, fitted.parameters) == (None, offered)
    assert fitted.notes
    assert given == before


def test_a_schema_that_is_fine_is_offered_as_it_is() -> None:
    schema = {
        "type": "object",
        "properties": {
            "zone": {"type": ["string", "null"], "default": None, "description": "IANA name"},
            "when": {"anyOf": [STRING, {"type": "null"}]},
            "many": {"type": "array", "items": {"type": "integer", "minimum": 1}},
        },
        "required": ["zone"],
        "additionalProperties": False,
    }
    fitted = fit_tool("The time.", schema)
    assert (fitted.parameters, fitted.notes) == (schema, ())


def test_properties_under_names_that_endpoints_refuse_are_offered_under_others() -> None:
    inner = {"type": "object", "properties": {"$filter": STRING}, "required": ["$filter"]}
    given = {
        "type": "object",
        "properties": {
            "user name": STRING,
            "user-name": STRING,
            "名前": STRING,
            "n" * 65: {"type": "array", "items": inner},
            "": STRING,
        },
        "required": ["user name", "missing"],
    }
    fitted = fit_tool("x", given)
    assert schema_fault(fitted.parameters) is None
    own = dict(fitted.renamed)
    assert sorted(own.values()) == sorted(["user name", "名前", "n" * 65, "", "$filter"])
    [required] = fitted.parameters["required"]
    assert (own[required], required in fitted.parameters["properties"]) == ("user name", True)
    assert "'user name' as 'user_name_" in fitted.notes[-1]
    assert set(fitted.parameters["properties"]) == {"user-name", *own} - {
        n for n in own if own[n] == "$filter"
    }


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"type": "string"}, "describes 'string', not an object"),
        ({"anyOf": [STRING, {"type": "number"}]}, "a choice in which no branch is an object"),
    ],
)
def test_a_tool_that_takes_no_object_is_left_out_with_the_reason(given: Any, says: str) -> None:
    assert says in (fit_tool("x", given).left_out or "")


def test_a_schema_that_grows_without_end_leaves_the_tool_out() -> None:
    wide = {
        f"d{n}": {"type": "object", "properties": {k: {"$ref": f"#/$defs/d{n + 1}"} for k in "abc"}}
        for n in range(12)
    }
    wide["d12"] = {"type": "string"}
    schema = {"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": wide}
    assert "more than 5,000 parts" in (fit_tool("x", schema).left_out or "")


def test_a_long_description_ends_with_a_sentence_and_says_so() -> None:
    text = "One sentence. " * 300
    fitted = fit_tool(text, OBJECT)
    assert fitted.description == ("One sentence. " * 73).rstrip()
    assert fitted.notes == (
        f"the description was cut from {len(text):,} to {len(fitted.description):,} characters",
    )
    assert len(cut_description("x" * 5000, 1024)) == 1024


_scalars = st.sampled_from([None, True, 1, "a", "object", "string", "#/$defs/d", "#"])
_CHOICES = ["anyOf", "oneOf", "allOf", "not", "enum", "const", "prefixItems", "items"]
_OTHERS = ["type", "properties", "required", "additionalProperties", "$ref", "$defs", "d"]
_keywords = st.sampled_from([*_CHOICES, *_OTHERS])
_schemas = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_keywords, inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_schemas)
def test_whatever_a_server_lists_what_is_offered_is_what_endpoints_accept(schema: object) -> None:
    fitted = fit_tool("x", schema)
    if fitted.left_out is None:
        assert schema_fault(fitted.parameters) is None


@pytest.mark.parametrize(
    ("keyword", "value", "offered"),
    [
        ("minimum", float("nan"), {}),
        ("maximum", float("inf"), {}),
        ("maxLength", 10**400, {}),
        ("default", float("nan"), {"default": "NaN"}),
        ("enum", [float("inf"), 1], {"enum": ["Infinity", 1]}),
    ],
)
def test_numbers_that_json_does_not_know_are_not_offered(
    keyword: str, value: object, offered: dict[str, object]
) -> None:
    fitted = fit_tool("x", {"type": "object", "properties": {"a": {keyword: value}}})
    assert fitted.parameters["properties"]["a"] == offered


def test_a_schema_that_grows_without_end_when_it_is_resolved_is_left_out() -> None:
    parts = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 3} for n in range(20)}
    schema = {"type": "object", "allOf": [{"$ref": "#/$defs/d0"}], "$defs": parts}
    left_out = fit_tool("x", schema).left_out
    assert left_out is not None
    assert "parts" in left_out


def test_a_schema_that_is_large_when_it_is_resolved_is_left_out() -> None:
    properties = {f"p{n}": {"$ref": "#/$defs/long"} for n in range(1_000)}
    long = {"type": "string", "description": "x" * 20_000}
    schema = {"type": "object", "properties": properties, "$defs": {"long": long}}
    left_out = fit_tool("x", schema).left_out
    assert left_out is not None
    assert "bytes" in left_out


def test_a_merge_of_many_required_names_takes_no_time() -> None:
    halves = [{"required": [f"{half}{n}" for n in range(20_000)]} for half in "ab"]
    began = time.process_time()
    assert fit_tool("x", {"type": "object", "allOf": halves}).parameters == OBJECT
    assert time.process_time() - began < 2
