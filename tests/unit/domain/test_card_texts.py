"""Texts that are not JSON, or not AOS's JSON: path, message and hint, word for word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aos.domain.cards.check import assess_card
from aos.domain.cards.identity import MAX_CARD_BYTES, CardKind, digest_of
from tests.unit.domain.card_checking import POLICY, card, check

NO_NUMBER = "write a number, or null if there is none"
NO_CONTROL = "write \\n for a line break, \\t for a tab"

BROKEN_TEXTS: dict[str, tuple[bytes, tuple[str, str, str]]] = {
    "nothing": (b"", ("$", "the text is empty", 'write a JSON object, beginning with "{"')),
    "blanks": (b" \n", ("$", "the text is empty", 'write a JSON object, beginning with "{"')),
    "a trailing comma": (
        b'{"agent_id": "ceo",\n "purpose": "Lead",}',
        ("$", "line 2, column 20: a comma before the closing bracket", "remove the comma"),
    ),
    "single quotes": (
        b"{'agent_id': 'ceo'}",
        ("$", "line 1, column 2: a single quote", 'put names and strings in double quotes: "…"'),
    ),
    "a comment": (
        b'{"agent_id": "ceo", // the boss\n "purpose": "Lead"}',
        ("$", "line 1, column 21: a comment", "JSON has no comments: remove it"),
    ),
    "a missing comma": (
        b'{"agent_id": "ceo"\n "purpose": "Lead"}',
        (
            "$",
            "line 2, column 2: a comma is missing before this",
            "put a comma between the members",
        ),
    ),
    "an end inside a string": (
        b'{"agent_id": "ceo", "purpose": "Le',
        ("$", "line 1, column 32: this string has no end", 'close it with "'),
    ),
    "an end too early": (
        b'{"agent_id": "ceo", "purpose": "Lead"',
        (
            "$",
            "line 1, column 38: the text ends too early",
            'close what is open with "}" or "]"',
        ),
    ),
    "more after the end": (
        card() + b" {}",
        (
            "$",
            "line 1, column 40: text after the end of the JSON value",
            "keep one JSON object and remove the rest",
        ),
    ),
    "Python's True": (
        card('"enabled": True'),
        (
            "$",
            "line 1, column 51: not a JSON value",
            "write true, false or null in lower case",
        ),
    ),
    "UTF-16": (
        card().decode().encode("utf-16"),
        ("$", "the text is UTF-16 or UTF-32, not UTF-8", "save it as UTF-8"),
    ),
    "UTF-16 without a BOM": (
        card().decode().encode("utf-16-le"),
        ("$", "the text is UTF-16 or UTF-32, not UTF-8", "save it as UTF-8"),
    ),
    "Latin-1": (
        b'{"agent_id": "ceo", "purpose": "F\xfchren"}',
        ("$", "line 1: byte 0xfc is not UTF-8", "save it as UTF-8"),
    ),
    "a megabyte": (
        card('"instructions": "' + "x" * 1024 * 1024 + '"'),
        (
            "$",
            "the card has 1,048,634 bytes, the limit is 65,536",
            "make it 65,536 bytes or smaller",
        ),
    ),
    "a list": (b"[]", ("$", "the card is not a JSON object", 'write an object: {"…": …}')),
    "null": (b"null", ("$", "the card is not a JSON object", 'write an object: {"…": …}')),
    "duplicate names": (
        card('"limits": {"max_turns": 3, "max_turns": 4}'),
        (
            "limits.max_turns",
            "the name 'max_turns' appears twice in one object",
            "keep one of them",
        ),
    ),
    "NaN": (
        card('"parameters": {"temperature": NaN}'),
        ("parameters.temperature", "NaN is not JSON", NO_NUMBER),
    ),
    "-Infinity": (
        card('"parameters": {"temperature": -Infinity}'),
        ("parameters.temperature", "-Infinity is not JSON", NO_NUMBER),
    ),
    "a number beyond all bounds": (
        card('"parameters": {"temperature": 1e999}'),
        ("parameters.temperature", "the number is too large", "write a smaller one"),
    ),
    "a number of 5,000 digits": (
        card('"labels": {"n": ' + "9" * 5000 + "}"),
        ("$", "a number has too many digits", "write a smaller one"),
    ),
    "an escaped control character": (
        card('"instructions": "Be\\u0007ep"'),
        (
            "instructions",
            "the control character U+0007",
            "remove it; of these only tab and newlines are allowed",
        ),
    ),
    "a raw control character": (
        b'{"agent_id": "ceo", "purpose": "Le\x01ad"}',
        ("$", "line 1, column 35: a control character inside a string", NO_CONTROL),
    ),
    "a raw line break in a string": (
        b'{"agent_id": "ceo", "purpose": "Lead\nwell"}',
        ("$", "line 1, column 37: a control character inside a string", NO_CONTROL),
    ),
    "half of a surrogate pair": (
        card('"instructions": "\\ud83d"'),
        (
            "instructions",
            "half of a surrogate pair (\\ud800 to \\udfff)",
            "write the character itself, in UTF-8",
        ),
    ),
    "a nest of lists": (
        card('"labels": ' + "[" * 40 + "]" * 40),
        ("$", "line 1, column 81: nested deeper than 32 levels", "flatten it"),
    ),
}


@pytest.mark.parametrize("what", BROKEN_TEXTS)
def test_what_is_no_json_of_ours_says_where_and_what_to_write(what: str) -> None:
    body, said = BROKEN_TEXTS[what]
    assert check(body) == [said]


def test_a_bom_is_tolerated_and_belongs_to_the_digest() -> None:
    body = b"\xef\xbb\xbf" + card()
    assessment, raw = assess_card(body, kind=CardKind.AGENT, card_id="ceo", policy=POLICY)
    assert raw == {"agent_id": "ceo", "purpose": "Lead"}
    assert assessment.digest == digest_of(body) != digest_of(card())


def test_a_card_of_exactly_the_limit_is_accepted() -> None:
    filling = "x" * (MAX_CARD_BYTES - len(card('"instructions": ""')))
    body = card(f'"instructions": "{filling}"')
    assert len(body) == MAX_CARD_BYTES
    assert check(body) == []
    assert check(body + b" ")[0][0] == "$"


@given(st.binary(max_size=200))
def test_no_bytes_whatever_break_the_check(body: bytes) -> None:
    assert check(body)
