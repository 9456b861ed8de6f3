"""Accepted cards become the values that they state."""

from __future__ import annotations

import json
from pathlib import Path

from aos.domain.cards.agent_card import (
    AgentCard,
    AgentLimits,
    Memory,
    Schedule,
    ToolGrant,
    agent_card_from_dict,
    build_system_prompt,
)
from aos.domain.cards.assessment import CardProblem, CardReference
from aos.domain.cards.check import assess_card
from aos.domain.cards.identity import CardKind
from aos.domain.cards.policy import CardPolicy
from aos.domain.cards.server_card import McpServerCard, mcp_server_card_from_dict
from tests.unit.domain.card_checking import POLICY

PLAN = Path(__file__).resolve().parents[2] / "fixtures" / "plan"


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
    prompt = build_system_prompt(agent_card_from_dict(plain | {"purpose_scope": "Strategy"}))
    assert prompt == (
        "You are the agent 'ceo'.\n\nYour purpose: Lead.\n\nYour scope: Strategy\n\nBe brief."
    )
    leader = build_system_prompt(agent_card_from_dict(plain | {"agent_type": "LeadershipAgent"}))
    assert "name the options" in leader
    assert leader.endswith("\n\nBe brief.")
