"""Broken cards: path, message and hint, word for word."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aos.domain.cards.agent_card import (
    agent_card_from_dict,
    build_system_prompt,
)
from aos.domain.cards.assessment import MAX_PROBLEMS
from aos.domain.cards.check import MAX_TEXT, assess_card
from aos.domain.cards.identity import CardKind
from aos.domain.cards.policy import CardPolicy
from tests.texts import texts
from tests.unit.domain.card_checking import AGENT_FIELDS, POLICY, card, check

ID_RULE = "1 to 63 of a-z, 0-9, _ and -, beginning with a letter or a digit"

BROKEN_CARDS: dict[str, tuple[bytes, tuple[str, str, str]]] = {
    "a field's name mistyped": (
        card('"purpose_scop": "x"'),
        (
            "purpose_scop",
            "unknown field 'purpose_scop'; the nearest known field is 'purpose_scope'",
            "write 'purpose_scope', or remove it",
        ),
    ),
    "a field's name in camel case": (
        card('"adapterName": "ceo"'),
        (
            "adapterName",
            "unknown field 'adapterName'; the nearest known field is 'adapter_name'",
            "write 'adapter_name', or remove it",
        ),
    ),
    "an unknown field like no other": (
        card('"memory": {"zzzz": 1}'),
        (
            "memory.zzzz",
            "unknown field 'zzzz'",
            "remove it; the known fields here are: window_messages, ttl_days",
        ),
    ),
    "a field outside its object": (
        card('"ttl_days": 30'),
        (
            "ttl_days",
            "unknown field 'ttl_days'; it is a field of memory",
            "move it there, or remove it",
        ),
    ),
    "a field in the wrong object": (
        card('"limits": {"on_busy": "reject"}'),
        (
            "limits.on_busy",
            "unknown field 'on_busy'; it is a field of the card itself",
            "move it there, or remove it",
        ),
    ),
    "a field of two other objects": (
        card('"conversation": "new"'),
        (
            "conversation",
            "unknown field 'conversation'; it is a field of wake.schedules and wake.events",
            "move it there, or remove it",
        ),
    ),
    "an unknown field inside": (
        card('"limits": {"max_turn": 3}'),
        (
            "limits.max_turn",
            "unknown field 'max_turn'; the nearest known field is 'max_turns'",
            "write 'max_turns', or remove it",
        ),
    ),
    "a number for a text": (
        b'{"agent_id": "ceo", "purpose": 7}',
        ("purpose", "must be a string, not the number 7", 'put it in double quotes: "…"'),
    ),
    "a text for a boolean": (
        card('"enabled": "yes"'),
        (
            "enabled",
            'must be true or false, not the string "yes"',
            "write true or false, without quotes",
        ),
    ),
    "1 for a boolean": (
        card('"enabled": 1'),
        (
            "enabled",
            "must be true or false, not the number 1",
            "write true or false, without quotes",
        ),
    ),
    "a text for a number": (
        card('"limits": {"max_turns": "3"}'),
        (
            "limits.max_turns",
            'must be a whole number, not the string "3"',
            "write digits only, without quotes",
        ),
    ),
    "a boolean for a number": (
        card('"limits": {"max_turns": true}'),
        (
            "limits.max_turns",
            "must be a whole number, not true",
            "write digits only, without quotes",
        ),
    ),
    "a text for a list": (
        card('"mcp_tools": "github"'),
        ("mcp_tools", 'must be a list, not the string "github"', "write a list: […]"),
    ),
    "a list for an object": (
        card('"limits": []'),
        ("limits", "must be an object, not a list", "write an object: {…}"),
    ),
    "an id unlike the file's name": (
        b'{"agent_id": "cfo", "purpose": "Lead"}',
        (
            "agent_id",
            "agent_id is 'cfo', but the file name is 'agents/ceo.json'",
            'write "agent_id": "ceo", or name the file agents/cfo.json',
        ),
    ),
    "no id": (b'{"purpose": "Lead"}', ("agent_id", "agent_id is missing", 'add "agent_id"')),
    "no purpose": (b'{"agent_id": "ceo"}', ("purpose", "purpose is missing", 'add "purpose"')),
    "an empty purpose": (
        b'{"agent_id": "ceo", "purpose": "  "}',
        ("purpose", "purpose must not be empty", "write one sentence"),
    ),
    "an unknown agent_type": (
        card('"agent_type": "LeaderAgent"'),
        (
            "agent_type",
            "unknown agent_type 'LeaderAgent'; the nearest known is 'LeadershipAgent'",
            "write one of: PurposeDrivenAgent, LeadershipAgent",
        ),
    ),
    "an unknown on_busy": (
        card('"on_busy": "queue"'),
        (
            "on_busy",
            "unknown on_busy 'queue'; the nearest known is 'enqueue'",
            "write one of: enqueue, reject",
        ),
    ),
    "a limit of zero": (
        card('"limits": {"max_turns": 0}'),
        ("limits.max_turns", "the number is too small", "write 1 or more"),
    ),
    "a limit above the operator's": (
        card('"limits": {"max_turns": 65}'),
        (
            "limits.max_turns",
            "65 is more than the operator's limit of 64",
            "write a number from 1 to 64",
        ),
    ),
    "a model that is not listed": (
        card('"model": "smoll"'),
        (
            "model",
            "the model 'smoll' is not in AOS_MODELS; the nearest there is 'smol'",
            "leave model out, or write one of: big, smol",
        ),
    ),
    "a parameter of AOS's own": (
        card('"parameters": {"stream": true}'),
        (
            "parameters.stream",
            "'stream' is set by AOS itself",
            "remove it; not allowed: messages, model, n, stream, tool_choice, tools",
        ),
    ),
    "a cron of four fields": (
        card('"wake": {"schedules": [{"cron": "0 9 * *", "message": "Go"}]}'),
        (
            "wake.schedules[0].cron",
            "a cron expression has five fields, but '0 9 * *' has 4",
            "write five fields, such as 0 9 * * 1-5",
        ),
    ),
    "a time zone of another planet": (
        card(
            '"wake": {"schedules": [{"cron": "0 9 * * *", "message": "Go", "time_zone": "Mars"}]}'
        ),
        (
            "wake.schedules[0].time_zone",
            "'Mars' is not a time zone",
            "write an IANA name like Europe/Berlin",
        ),
    ),
    "a conversation with a space": (
        card('"wake": {"events": [{"type": "x", "conversation": "a b"}]}'),
        (
            "wake.events[0].conversation",
            'the string "a b" is not allowed here',
            'write "new", or 1 to 128 of A-Z, a-z, 0-9, ".", "_" and "-"',
        ),
    ),
    "a server with a space": (
        card('"mcp_tools": ["fs", "git hub"]'),
        (
            "mcp_tools[1]",
            'the string "git hub" is not allowed here',
            f'write a server id ({ID_RULE}), or "<server>/<tool>"',
        ),
    ),
    "an unknown approval": (
        card('"mcp_tools": [{"server": "github", "approval": "alway"}]'),
        (
            "mcp_tools[0].approval",
            "unknown approval 'alway'; the nearest known is 'always'",
            "write one of: never, always",
        ),
    ),
    "a colleague that can have no such id": (
        card('"team": ["C F O"]'),
        ("team[0]", 'the string "C F O" is not allowed here', f"write agent ids ({ID_RULE})"),
    ),
}


@pytest.mark.parametrize("what", BROKEN_CARDS)
def test_a_broken_card_says_where_and_what_to_write(what: str) -> None:
    body, said = BROKEN_CARDS[what]
    assert check(body) == [said]


def test_all_problems_of_a_card_are_told_at_once_in_its_order() -> None:
    body = b'{"agent_id": "The CEO!", "purpose": "", "enabled": "no", "typo": 1}'
    assert [path for path, _, _ in check(body)] == [
        "agent_id",
        "agent_id",
        "purpose",
        "enabled",
        "typo",
    ]


@pytest.mark.parametrize("name", ["CEO", "ceo.v1", "a" * 64, "x/y", "größe", ".", "", "-a"])
def test_a_file_whose_name_is_no_id_says_how_to_name_it(name: str) -> None:
    found = check(b'{"purpose": "x"}', card_id=name)
    assert found[0] == (
        "agent_id",
        f"the file name {f'agents/{name}.json'!r} does not hold a valid id",
        f"name the file agents/<id>.json; an id is {ID_RULE}",
    )


def test_a_file_with_a_wrong_name_and_no_json_says_both() -> None:
    assert [path for path, _, _ in check(b"{", card_id="CEO")] == ["agent_id", "$"]


def test_what_is_said_about_one_card_is_bounded() -> None:
    many = ", ".join(f'"{"field" * 200}{i}": 1' for i in range(40))
    assessment, _ = assess_card(card(many), kind=CardKind.AGENT, card_id="ceo", policy=POLICY)
    assert len(assessment.errors) == MAX_PROBLEMS
    assert max(len(p.path) + len(p.message) + len(p.hint) for p in assessment.errors) <= (
        3 * MAX_TEXT
    )


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | texts(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(max_size=8), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(AGENT_FIELDS), _JSON, max_size=6))
def test_no_json_whatever_breaks_the_check(raw: dict[str, Any]) -> None:
    body = json.dumps(raw | {"agent_id": "ceo"}).encode()
    assessment, found = assess_card(body, kind=CardKind.AGENT, card_id="ceo", policy=POLICY)
    if found is not None:
        assert build_system_prompt(agent_card_from_dict(found))
    assert all(p.path and p.message and p.hint for p in assessment.errors)


def test_a_changed_policy_has_another_fingerprint() -> None:
    same = CardPolicy(allowed_models=frozenset({"big", "smol"}))
    assert POLICY.fingerprint() == same.fingerprint()
    others = [
        CardPolicy(),
        CardPolicy(mcp_allowed=()),
        CardPolicy(key_vault_uri="https://v.vault.azure.net"),
    ]
    assert len({POLICY.fingerprint(), *(policy.fingerprint() for policy in others)}) == 4
