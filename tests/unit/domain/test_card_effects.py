"""A card's field that has no effect is said in the card's status, in the same words everywhere."""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aos.client.cli import main as aos_command
from aos.domain.cards.agent_card import AgentCard, AgentLimits, Memory, ToolGrant
from aos.domain.cards.check import assess_card
from aos.domain.cards.identity import CardKind
from aos.domain.cards.policy import CardPolicy
from aos.domain.cards.server_card import McpServerCard
from aos.domain.runs.run import RunStatus
from aos.testing import MemoryWorld
from tests.docs.pages import ROOT
from tests.unit.catalog.cards import Cards, card

USELESS: dict[str, dict[str, Any]] = {
    "team": {"team": ["ceo"]},
    "adapter_required": {"adapter_required": True},
    "wake.events[1]": {"wake": {"events": [{"type": "order"}, {"type": "order"}]}},
}
ASKS_FOR_NOTHING: list[dict[str, Any]] = [
    {},
    {"wake": {}, "memory": {}, "limits": {}},
    {"wake": {"schedules": [], "events": []}},
    {
        "wake": {
            "schedules": [{"cron": "0 9 * * 1-5", "message": "Plan the day"}],
            "events": [{"type": "com.example.order"}],
        }
    },
    {"memory": {"window_messages": 9, "ttl_days": 30}},
    {"limits": {"max_tokens_per_run": 9, "max_tokens_per_day": 1000}},
    {"team": [], "adapter_required": False},
    {"adapter_required": True, "adapter_name": "ceo"},
    {"team": ["ceo"], "agent_type": "LeadershipAgent"},
]


def said_of(fields: dict[str, Any]) -> list[str]:
    """The paths of the warnings about an agent card with these fields."""
    assessment, raw = assess_card(
        card(**fields), kind=CardKind.AGENT, card_id="ceo", policy=CardPolicy()
    )
    assert (assessment.errors, raw is None) == ((), False)
    assert all(w.message and w.hint and w.path in w.message for w in assessment.warnings)
    return [warning.path for warning in assessment.warnings]


@pytest.mark.parametrize("path", USELESS)
def test_a_field_that_another_one_makes_useless_is_said(path: str) -> None:
    assert said_of(USELESS[path]) == [path]


@pytest.mark.parametrize("fields", ASKS_FOR_NOTHING, ids=json.dumps)
def test_a_card_that_asks_for_nothing_without_effect_has_no_warning(fields: dict[str, Any]) -> None:
    assert said_of(fields) == []


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({"tools": ["read"], "repeatable": ["read", "write"]}, ["repeatable[1]"]),
        ({"tools": ["read"], "repeatable": ["read"]}, []),
        ({"repeatable": ["write"]}, []),
        ({"tools": ["read"], "repeatable": True}, []),
    ],
)
def test_a_repeatable_tool_that_the_server_may_not_offer_is_said(
    fields: dict[str, Any], paths: list[str]
) -> None:
    raw = {"server_id": "files", "url": "https://mcp.example.com/", **fields}
    assessment, _ = assess_card(
        json.dumps(raw).encode(), kind=CardKind.MCP_SERVER, card_id="files", policy=CardPolicy()
    )
    assert assessment.errors == ()
    assert [warning.path for warning in assessment.warnings] == paths


async def test_an_upload_without_effect_goes_live_and_its_status_says_so() -> None:
    world = MemoryWorld()
    status = await world.put_agent({"agent_id": "ceo", "purpose": "Lead", **USELESS["team"]})
    assert (status["state"], status["errors"]) == ("active", [])
    assert [warning["path"] for warning in status["warnings"]] == ["team"]
    assert (await world.ask("ceo", "Hello")).status is RunStatus.COMPLETED


async def test_a_dry_run_and_aos_validate_say_what_the_status_file_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cards, body = Cards(), card(**USELESS["team"])
    dry = await cards.editor().put(CardKind.AGENT, "ceo", body, dry_run=True)
    await cards.editor().put(CardKind.AGENT, "ceo", body)
    told = (await cards.status("ceo"))["warnings"]
    assert (len(told), dry.status["warnings"]) == (1, told)
    (tmp_path / "ceo.json").write_bytes(body)
    assert aos_command(["validate", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"  warning at {w['path']}: {w['message']}; {w['hint']}" for w in told
    ]


def test_every_field_of_a_card_is_read_by_something_or_said_to_have_no_effect() -> None:
    """A field that is checked, kept and never read again would be accepted in silence."""
    read = set(_fields_read())
    free = {"labels"}  # documented as the author's own
    unread = {
        path
        for path, holder, name in _card_fields()
        if name not in free and (holder, name) not in read
    }
    assert unread == set()


def _card_fields() -> Iterator[tuple[str, str, str]]:
    """Each field: its path on the wire, the name that its holder goes by in code, its own."""
    wake = {"schedules": "wake.schedules", "events": "wake.events"}
    holders = {
        AgentCard: ("card", ""),
        McpServerCard: ("card", ""),
        AgentLimits: ("limits", "limits."),
        Memory: ("memory", "memory."),
        ToolGrant: ("grant", "mcp_tools[]."),
    }
    for kind, (holder, prefix) in holders.items():
        for field in dataclasses.fields(kind):
            yield wake.get(field.name, prefix + field.name), holder, field.name


def _fields_read() -> Iterator[tuple[str, str]]:
    """What the code reads of cards: `card.model`, `live.card.model`, and `self` in the cards."""
    for path in sorted((ROOT / "aos").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute):
                holder = ast.unparse(node.value).rpartition(".")[2]
                is_own = holder == "self" and path.name == "server_card.py"
                yield ("card" if is_own else holder), node.attr
