"""What the author of a broken card reads: path, message and hint, word for word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from aos.domain.cards.agent_card import (
    AgentCard,
    AgentLimits,
    Memory,
    Schedule,
    ToolGrant,
    agent_card_from_dict,
    system_prompt,
)
from aos.domain.cards.assessment import MAX_PROBLEMS, CardProblem, CardReference
from aos.domain.cards.check import MAX_TEXT, assess_card
from aos.domain.cards.identity import MAX_CARD_BYTES, CardKind, digest_of
from aos.domain.cards.policy import CardPolicy
from aos.domain.cards.schema import card_model, card_schema
from aos.domain.cards.server_card import McpServerCard, mcp_server_card_from_dict
from tests.texts import texts

PLAN = Path(__file__).resolve().parents[2] / "fixtures" / "plan"
POLICY = CardPolicy(allowed_models=frozenset({"smol", "big"}))
ID_RULE = "1 to 63 of a-z, 0-9, _ and -, beginning with a letter or a digit"
NO_NUMBER = "write a number, or null if there is none"
NO_CONTROL = "write \\n for a line break, \\t for a tab"


def card(more: str = "") -> bytes:
    """A good card of `ceo` with more members."""
    return ('{"agent_id": "ceo", "purpose": "Lead"' + (f", {more}" if more else "") + "}").encode()


def check(body: bytes, *, card_id: str = "ceo", kind: CardKind = CardKind.AGENT) -> list[Any]:
    """What is said about a card, as (path, message, hint)."""
    assessment, raw = assess_card(body, kind=kind, card_id=card_id, policy=POLICY)
    assert (raw is None) == bool(assessment.errors)
    return [(p.path, p.message, p.hint) for p in assessment.errors]


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
    "a list": (b"[]", ("$", "the card is no JSON object", 'write an object: {"…": …}')),
    "null": (b"null", ("$", "the card is no JSON object", 'write an object: {"…": …}')),
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
        ("memory.zzzz", "unknown field 'zzzz'", "remove it; known here: window_messages, ttl_days"),
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
            "agent_id is 'cfo', but the file is 'agents/ceo.json'",
            'write "agent_id": "ceo", or name the file agents/cfo.json',
        ),
    ),
    "no id": (b'{"purpose": "Lead"}', ("agent_id", "agent_id is missing", 'add "agent_id"')),
    "no purpose": (b'{"agent_id": "ceo"}', ("purpose", "purpose is missing", 'add "purpose"')),
    "an empty purpose": (
        b'{"agent_id": "ceo", "purpose": "  "}',
        ("purpose", "purpose must not be empty", "say in a sentence what purpose is"),
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
        ("limits.max_turns", "65 is more than the bound of 64", "write a number from 1 to 64"),
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
            "a cron expression has five fields, '0 9 * *' has 4",
            "write five fields, such as 0 9 * * 1-5",
        ),
    ),
    "a time zone of another planet": (
        card(
            '"wake": {"schedules": [{"cron": "0 9 * * *", "message": "Go", "time_zone": "Mars"}]}'
        ),
        (
            "wake.schedules[0].time_zone",
            "'Mars' is no time zone",
            "write an IANA name, such as Europe/Berlin",
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


@pytest.mark.parametrize("what", BROKEN_TEXTS)
def test_what_is_no_json_of_ours_says_where_and_what_to_write(what: str) -> None:
    body, said = BROKEN_TEXTS[what]
    assert check(body) == [said]


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
        f"the file name {f'agents/{name}.json'!r} holds no valid id",
        f"name the file agents/<id>.json, the id being {ID_RULE}",
    )


def test_a_file_with_a_wrong_name_and_no_json_says_both() -> None:
    assert [path for path, _, _ in check(b"{", card_id="CEO")] == ["agent_id", "$"]


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


def test_what_is_said_about_one_card_is_bounded() -> None:
    many = ", ".join(f'"{"field" * 200}{i}": 1' for i in range(40))
    assessment, _ = assess_card(card(many), kind=CardKind.AGENT, card_id="ceo", policy=POLICY)
    assert len(assessment.errors) == MAX_PROBLEMS
    assert max(len(p.path) + len(p.message) + len(p.hint) for p in assessment.errors) <= (
        3 * MAX_TEXT
    )


def test_the_plans_ceo_json_is_live_byte_for_byte() -> None:
    body = (PLAN / "ceo.json").read_bytes()
    assessment, raw = assess_card(body, kind=CardKind.AGENT, card_id="ceo", policy=CardPolicy())
    assert (assessment.errors, assessment.warnings) == ((), ())
    assert raw is not None
    assert agent_card_from_dict(raw) == AgentCard(
        agent_id="ceo",
        agent_type="LeadershipAgent",
        purpose="Strategic oversight and company growth",
        purpose_scope="Strategic planning, major decisions",
        adapter_name="ceo",
        limits=AgentLimits(
            max_turns=64,
            max_tool_calls=128,
            run_timeout_seconds=1800,
            approval_timeout_seconds=86400,
        ),
    )


def test_the_plans_github_json_is_live_byte_for_byte_and_warns_of_the_vault() -> None:
    body = (PLAN / "github.json").read_bytes()
    assessment, raw = assess_card(
        body, kind=CardKind.MCP_SERVER, card_id="github", policy=CardPolicy()
    )
    assert assessment.errors == ()
    assert assessment.warnings == (
        CardProblem(
            path="env.GITHUB_PERSONAL_ACCESS_TOKEN",
            message=(
                "AOS_KEY_VAULT_URI is not set, so the secret"
                " 'mcp-github-github-personal-access-token' cannot be read"
            ),
            hint="the operator must set AOS_KEY_VAULT_URI to the vault of the MCP servers",
        ),
    )
    assert raw is not None
    assert mcp_server_card_from_dict(raw) == McpServerCard(
        server_id="github",
        command="npx",
        args=("-y", "@modelcontextprotocol/server-github"),
        env={"GITHUB_PERSONAL_ACCESS_TOKEN": "@Microsoft.KeyVault(...)"},
    )


def test_a_card_with_everything_becomes_the_values_it_says() -> None:
    raw = {
        "$schema": "https://example.com/api/schemas/agent.json",
        "agent_id": "ceo",
        "purpose": "Lead",
        "instructions": "Be brief.",
        "mcp_tools": [
            "fs",
            "github/create_issue",
            {"server": "mail", "tools": ["send"], "approval": "always"},
        ],
        "model": "big",
        "parameters": {"temperature": 0.2},
        "limits": {"max_turns": 3, "max_tokens_per_day": 1000},
        "team": ["cfo"],
        "wake": {"schedules": [{"cron": "0 9 * * 1-5", "message": "Plan the day"}]},
        "memory": {"window_messages": 10, "ttl_days": 30},
        "on_busy": "reject",
        "labels": {"cost": "42"},
    }
    assessment, found = assess_card(
        json.dumps(raw).encode(), kind=CardKind.AGENT, card_id="ceo", policy=POLICY
    )
    assert assessment.errors == ()
    assert found is not None
    made = agent_card_from_dict(found)
    assert made.mcp_tools == (
        ToolGrant(server_id="fs"),
        ToolGrant(server_id="github", tools=("create_issue",)),
        ToolGrant(server_id="mail", tools=("send",), approval="always"),
    )
    assert made.schedules == (
        Schedule(cron="0 9 * * 1-5", message="Plan the day", conversation="home-ceo"),
    )
    assert (made.memory, made.limits.max_turns) == (Memory(window_messages=10, ttl_days=30), 3)
    assert assessment.references == (
        CardReference(path="mcp_tools[0]", kind=CardKind.MCP_SERVER, card_id="fs"),
        CardReference(path="mcp_tools[1]", kind=CardKind.MCP_SERVER, card_id="github"),
        CardReference(path="mcp_tools[2]", kind=CardKind.MCP_SERVER, card_id="mail"),
        CardReference(path="team[0]", kind=CardKind.AGENT, card_id="cfo"),
    )


def test_an_agents_type_is_a_behaviour_in_its_system_prompt() -> None:
    plain = {"agent_id": "ceo", "purpose": "Lead.", "instructions": "Be brief."}
    prompt = system_prompt(agent_card_from_dict(plain | {"purpose_scope": "Strategy"}))
    assert prompt == (
        "You are the agent 'ceo'.\n\nYour purpose: Lead.\n\nYour scope: Strategy\n\nBe brief."
    )
    leader = system_prompt(agent_card_from_dict(plain | {"agent_type": "LeadershipAgent"}))
    assert "name the options" in leader
    assert leader.endswith("\n\nBe brief.")


@given(st.binary(max_size=200))
def test_no_bytes_whatever_break_the_check(body: bytes) -> None:
    assert check(body)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | texts(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(max_size=8), inner),
    max_leaves=8,
)
_FIELDS = sorted(field.alias or n for n, field in card_model(CardKind.AGENT).model_fields.items())


@given(st.dictionaries(st.sampled_from(_FIELDS), _JSON, max_size=6))
def test_no_json_whatever_breaks_the_check(raw: dict[str, Any]) -> None:
    body = json.dumps(raw | {"agent_id": "ceo"}).encode()
    assessment, found = assess_card(body, kind=CardKind.AGENT, card_id="ceo", policy=POLICY)
    if found is not None:
        assert system_prompt(agent_card_from_dict(found))
    assert all(p.path and p.message and p.hint for p in assessment.errors)


def test_the_schemas_name_every_field_and_forbid_others() -> None:
    agent, server = card_schema("agent"), card_schema("mcp-server")
    assert set(agent["properties"]) == set(_FIELDS)
    assert agent["required"] == ["agent_id", "purpose"]
    assert (agent["additionalProperties"], server["additionalProperties"]) == (False, False)
    assert server["properties"]["env"]["additionalProperties"] == {"type": "string"}


@pytest.mark.parametrize(
    ("name", "card", "fits"),
    [
        ("agent", {"purpose": "Answer."}, True),
        ("agent", {"purpose": ""}, False),
        ("agent", {"purpose": " \n"}, False),
        ("agent", {"purpose": "x", "mcp_tools": [{"server": "s", "tools": ["a tool"]}]}, False),
        ("mcp-server", {"command": "npx"}, True),
        ("mcp-server", {"url": "https://mcp.example.com/"}, True),
        ("mcp-server", {"command": "npx", "url": None}, True),
        ("mcp-server", {}, False),
        ("mcp-server", {"command": None}, False),
        ("mcp-server", {"command": "npx", "url": "https://mcp.example.com/"}, False),
    ],
)
def test_the_schemas_say_of_blank_purposes_and_of_two_transports_what_the_check_says(
    name: Literal["agent", "mcp-server"], card: dict[str, Any], fits: bool
) -> None:
    kind = CardKind.AGENT if name == "agent" else CardKind.MCP_SERVER
    whole = {kind.id_field: "x", **card}
    if name == "mcp-server" and card.get("command"):
        whole["args"] = ["-y", "@modelcontextprotocol/server-time"]
    assessment, _ = assess_card(json.dumps(whole).encode(), kind=kind, card_id="x", policy=POLICY)
    assert (Draft202012Validator(card_schema(name)).is_valid(whole), not assessment.errors) == (
        fits,
        fits,
    )


def test_a_changed_policy_has_another_fingerprint() -> None:
    same = CardPolicy(allowed_models=frozenset({"big", "smol"}))
    assert POLICY.fingerprint() == same.fingerprint()
    others = [
        CardPolicy(),
        CardPolicy(mcp_allowed=()),
        CardPolicy(key_vault_uri="https://v.vault.azure.net"),
    ]
    assert len({POLICY.fingerprint(), *(policy.fingerprint() for policy in others)}) == 4
