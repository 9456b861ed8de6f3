"""The status of a card says which of its grants will never work, and stops when they do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aos.domain.cards.identity import CardKind
from aos.domain.cards.policy import CardPolicy
from aos.domain.tools.endpoint_rules import FittedTool
from aos.domain.tools.tool import DISABLED, ServerTools, ToolSchema
from tests.unit.catalog.cards import Cards, card
from tests.unit.domain.values import NOON

SERVER = CardKind.MCP_SERVER


async def upload_server(cards: Cards, server_id: str = "github", **fields: Any) -> None:
    whole = {
        "server_id": server_id,
        "command": "npx",
        "args": ["-y", f"@modelcontextprotocol/{server_id}"],
        **fields,
    }
    await cards.upload(server_id, json.dumps(whole).encode(), kind=SERVER)


def list_tools(cards: Cards, server_id: str, *names: str, **fields: Any) -> None:
    whole = {"state": "ready", "listed_at": NOON, **fields}
    tools = tuple(ToolSchema(name=name) for name in names)
    cards.tables.tools[server_id] = ServerTools(server_id=server_id, tools=tools, **whole)


async def warnings(cards: Cards) -> list[tuple[str, str]]:
    status = await cards.status("ceo")
    return [(warning["path"], warning["message"]) for warning in status["warnings"]]


async def test_a_grant_of_a_disabled_server_warns_until_it_is_enabled() -> None:
    cards = Cards()
    publisher = cards.publisher()
    await upload_server(cards, enabled=False)
    await cards.upload("ceo", card(mcp_tools=["github/issue"]))
    list_tools(cards, "github", state="stopped", error=DISABLED)
    await publisher.publish()
    text = "the MCP server 'github' is disabled, so it is not used"
    assert await warnings(cards) == [("mcp_tools[0]", text)]
    await upload_server(cards)
    list_tools(cards, "github", "issue")
    await publisher.publish()
    assert await warnings(cards) == []


async def test_a_tool_that_its_server_does_not_list_warns_once_the_server_has_listed() -> None:
    cards = Cards()
    publisher = cards.publisher()
    await upload_server(cards)
    grant = {"server": "github", "tools": ["create_isue", "close", "nothing"]}
    await cards.upload("ceo", card(mcp_tools=[grant]))
    await publisher.publish()
    assert await warnings(cards) == []
    list_tools(cards, "github", "create_issue", "close")
    first = await publisher.publish()
    assert [change.card_id for change in first.changes] == ["ceo"]
    status = await cards.status("ceo")
    assert status["warnings"] == [
        {
            "path": "mcp_tools[0]",
            "message": "the MCP server 'github' lists no tool 'create_isue'",
            "hint": "write 'create_issue', or remove the grant",
        },
        {
            "path": "mcp_tools[0]",
            "message": "the MCP server 'github' lists no tool 'nothing'",
            "hint": "see GET /api/tools for its tools, or remove the grant",
        },
    ]
    assert status["state"] == "active"
    assert not (await publisher.publish()).published
    list_tools(cards, "github", "create_isue", "close", "nothing")
    await publisher.publish()
    assert await warnings(cards) == []


@pytest.mark.parametrize(
    ("names", "fields"),
    [
        ((), {"state": "failed", "error": "boom"}),
        ((), {"state": "starting"}),
        ((), {"state": "starting", "listed_at": None}),
        (("issue",), {"state": "failed", "error": "boom"}),
        (("issue",), {"state": "stopped"}),
    ],
)
async def test_a_server_without_a_list_warns_nobody_and_an_idle_one_keeps_its_list(
    names: tuple[str, ...], fields: dict[str, Any]
) -> None:
    cards = Cards()
    await upload_server(cards)
    await cards.upload("ceo", card(mcp_tools=["github/issue"]))
    list_tools(cards, "github", *names, **fields)
    await cards.publisher().publish()
    assert await warnings(cards) == []


@pytest.mark.parametrize(("more", "count"), [({}, 4), ({"team": ["cfo"]}, 5)])
async def test_more_tools_than_a_model_takes_warns_with_count_and_bound(
    more: dict[str, Any], count: int
) -> None:
    cards = Cards(policy=CardPolicy(max_tools=3))
    publisher = cards.publisher()
    await upload_server(cards, "one")
    await upload_server(cards, "two")
    await cards.upload("cfo", card("cfo"))
    leader = {"agent_type": "LeadershipAgent", **more}
    await cards.upload("ceo", card(mcp_tools=["one", "one/a", "two/c", "two/d"], **leader))
    list_tools(cards, "one", "a", "b")
    list_tools(cards, "two", "c", "d", "e")
    await publisher.publish()
    text = f"the card grants {count} tools, a model takes 3: runs fail as too_many_tools"
    assert await warnings(cards) == [("mcp_tools", text)]
    left_out = ToolSchema(name="a", offered=FittedTool(left_out="its schema"))
    cards.tables.tools["one"] = ServerTools(
        server_id="one", state="ready", listed_at=NOON, tools=(left_out,)
    )
    await publisher.publish()
    assert await warnings(cards) == []


async def test_a_thousand_cards_cost_one_reading_of_the_tools_and_only_changed_files() -> None:
    cards = Cards()
    publisher = cards.publisher()
    await upload_server(cards)
    for number in range(1000):
        tool = "close" if number % 500 == 0 else "open"
        name = f"a{number:04}"
        await cards.upload(name, card(name, mcp_tools=[f"github/{tool}"]))
    await publisher.publish()
    cards.calls()
    cards.table_calls.clear()
    list_tools(cards, "github", "open")
    outcome = await publisher.publish()
    assert [change.card_id for change in outcome.changes] == ["a0000", "a0500"]
    assert cards.table_calls == ["tools.list_servers"]
    made = cards.calls()
    assert (made["config read"], made["config write"]) == (2, 2)


async def test_while_the_tables_are_away_cards_are_published_and_keep_their_warnings() -> None:
    cards = Cards()
    publisher = cards.publisher()
    await upload_server(cards)
    await cards.upload("ceo", card(mcp_tools=["github/close"]))
    list_tools(cards, "github", "open")
    await publisher.publish()
    cards.tables_away = True
    await cards.upload("ceo", card(mcp_tools=["github/close"], purpose="Lead well"))
    assert (await publisher.publish()).published
    assert len(await warnings(cards)) == 1


async def test_a_dry_run_warns_of_tools_too() -> None:
    cards = Cards()
    await upload_server(cards)
    list_tools(cards, "github", "open")
    await cards.publisher().publish()
    body = card(mcp_tools=["github/close"])
    result = await cards.editor().put(CardKind.AGENT, "ceo", body, dry_run=True)
    assert [warning["path"] for warning in result.status["warnings"]] == ["mcp_tools[0]"]
