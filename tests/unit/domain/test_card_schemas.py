"""The JSON Schemas of cards agree with the check."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from jsonschema_rs import Draft202012Validator

from aos.domain.cards.check import assess_card
from aos.domain.cards.identity import CardKind
from aos.domain.cards.schema import build_card_schema
from tests.unit.domain.card_checking import AGENT_FIELDS, POLICY


def test_the_schemas_name_every_field_and_forbid_others() -> None:
    agent, server = build_card_schema("agent"), build_card_schema("mcp-server")
    assert set(agent["properties"]) == set(AGENT_FIELDS)
    assert agent["required"] == ["agent_id", "purpose"]
    assert (agent["additionalProperties"], server["additionalProperties"]) == (False, False)
    assert server["properties"]["env"]["additionalProperties"] == {"type": "string"}


@pytest.mark.parametrize(
    ("name", "card", "fits"),
    [
        ("agent", {"purpose": "Answer."}, True),
        ("agent", {"purpose": ""}, False),
        ("agent", {"purpose": " \n"}, False),
        ("agent", {"purpose": "x", "mcp_tools": [{"server": "s", "tools": ["a tool"]}]}, True),
        ("agent", {"purpose": "x", "mcp_tools": ["s/天気を調べる", "s/list the files"]}, True),
        ("agent", {"purpose": "x", "mcp_tools": [{"server": "s", "tools": ["a\nb"]}]}, False),
        ("agent", {"purpose": "x", "mcp_tools": [{"server": "s", "tools": [" a"]}]}, False),
        ("agent", {"purpose": "x", "mcp_tools": [{"server": "s", "tools": ["x" * 129]}]}, False),
        ("mcp-server", {"command": "npx"}, True),
        ("mcp-server", {"command": "npx", "tools": ["天気 を", "a" * 128]}, True),
        ("mcp-server", {"command": "npx", "tools": ["a\u007f"]}, False),
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
    assert (
        Draft202012Validator(build_card_schema(name)).is_valid(whole),
        not assessment.errors,
    ) == (
        fits,
        fits,
    )
