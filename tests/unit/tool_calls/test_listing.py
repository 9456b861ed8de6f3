"""`aostools` says which tools there are and how their servers do, and nothing is listed twice."""

from __future__ import annotations

import asyncio

import pytest

from aos.domain.tools.endpoint_rules import FittedTool
from aos.domain.tools.tool import ServerTools, ToolSchema
from tests.unit.tool_calls.mcp_in_memory import Mcp, McpWorld, said


@pytest.fixture
def world() -> McpWorld:
    made = McpWorld()
    made.tables.tools.clear()
    return made


def row(world: McpWorld, server_id: str = "books") -> tuple[str, str | None, list[str]]:
    """State, error and tools of a server."""
    found = world.tables.tools[server_id]
    return found.state, found.error, [tool.name for tool in found.tools]


NO_ARGUMENTS = FittedTool(
    parameters={"type": "object", "properties": {}},
    notes=("the input schema was simplified: properties",),
)


async def test_a_published_server_is_listed(world: McpWorld) -> None:
    states: list[str] = []
    world.tables.watchers.append(
        lambda operation, key: states.append(world.tables.tools[key].state)
    )
    await world.mcp.listing.follow()
    assert states == ["starting", "ready"]
    listed = world.tables.tools["books"]
    assert listed == ServerTools(
        server_id="books",
        state="ready",
        tools=(
            ToolSchema(name="count", annotations={"readOnlyHint": True}, offered=NO_ARGUMENTS),
            ToolSchema(name="add", offered=NO_ARGUMENTS),
        ),
        listed_at=world.clock.now(),
        seen_at=world.clock.now(),
        instance="i1",
        card_digest="d1",
        offer_rules=listed.offer_rules,
    )
    await world.mcp.listing.follow()
    assert states == ["starting", "ready"]


async def test_only_what_the_card_lists_is_kept(world: McpWorld) -> None:
    world.cards.put(tools=("add",))
    await world.mcp.listing.follow()
    assert row(world) == ("ready", None, ["add"])


async def test_another_card_is_listed_anew(world: McpWorld) -> None:
    await world.mcp.listing.follow()
    world.cards.put(digest="d2", tools=("count",))
    await world.mcp.listing.follow()
    assert row(world) == ("ready", None, ["count"])
    assert world.tables.tools["books"].card_digest == "d2"


async def test_a_disabled_server_is_stopped_and_has_no_tools(world: McpWorld) -> None:
    await world.mcp.listing.follow()
    world.cards.put(digest="d2", enabled=False)
    await world.mcp.listing.follow()
    assert row(world) == ("stopped", "disabled by its card", [])


async def test_a_server_that_is_not_published_any_more_is_forgotten(world: McpWorld) -> None:
    await world.mcp.listing.follow()
    del world.cards.live["books"]
    await world.mcp.listing.follow()
    assert world.tables.tools == {}


async def test_a_server_that_fails_says_why_and_is_tried_again_ever_more_seldom(
    world: McpWorld,
) -> None:
    world.cards.put("broken")
    world.servers.failing["broken"] = "cannot be started"
    await world.mcp.listing.follow()
    assert row(world, "broken") == ("failed", "the MCP server 'broken' cannot be started", [])
    assert row(world)[0] == "ready"
    tries: list[str] = []
    world.tables.watchers.append(lambda operation, key: tries.append(world.tables.tools[key].state))
    for _ in range(7):
        world.clock.advance(10.0)
        await world.mcp.listing.follow()
    assert tries == ["starting", "failed"]  # after 30 s; the next after 60 s more
    del world.servers.failing["broken"]
    world.clock.advance(60.0)
    await world.mcp.listing.follow()
    assert row(world, "broken")[0] == "ready"


async def test_a_server_that_another_instance_is_starting_is_left_to_it_for_a_while(
    world: McpWorld,
) -> None:
    world.tables.tools["books"] = ServerTools(
        server_id="books", state="starting", seen_at=world.clock.now(), card_digest="d1"
    )
    await Mcp(world).listing.follow()
    assert row(world)[0] == "starting"
    world.clock.advance(200.0)
    await world.mcp.listing.follow()
    assert row(world)[0] == "ready"


async def test_tools_that_change_are_listed_again(world: McpWorld) -> None:
    await world.mcp.listing.follow()
    world.servers.add("books", ToolSchema(name="sell"), lambda a: said("sold"))
    world.mcp.listing.note("books", "tools")
    world.mcp.listing.note("books", "tools")
    await asyncio.sleep(0)  # it waits for more to come
    world.clock.advance(1.0)
    await world.mcp.listing.wait_for_notes()
    assert row(world) == ("ready", None, ["count", "add", "sell"])


async def test_a_tool_that_its_server_describes_wrongly_is_named_and_costs_no_other(
    world: McpWorld,
) -> None:
    left_out = FittedTool(left_out="it has no name")
    world.servers.add("books", ToolSchema(name="(tool 3)", offered=left_out), lambda a: said(""))
    await world.mcp.listing.follow()
    assert row(world) == ("ready", None, ["count", "add", "(tool 3)"])
    listed = world.tables.tools["books"].tools
    assert [tool.offered for tool in listed] == [NO_ARGUMENTS, NO_ARGUMENTS, left_out]
    (line,) = (n for n in world.telemetry.lines if n["event"] == "mcp_tool_left_out")
    assert (line["server"], line["tool"]) == ("books", "(tool 3)")
    assert line["reason"] == "it has no name"


async def test_a_server_without_tools_is_ready_and_is_not_listed_again(world: McpWorld) -> None:
    world.servers.schemas["books"].clear()
    await world.mcp.listing.follow()
    assert row(world) == ("ready", None, [])
    writes: list[str] = []
    world.tables.watchers.append(lambda operation, key: writes.append(key))
    for _ in range(20):
        world.clock.advance(600.0)
        await world.mcp.listing.follow()
    assert writes == []


@pytest.mark.parametrize(
    ("change", "said_of_it", "after"),
    [
        ("stopped", "", ("stopped", None)),
        ("died", "it ended", ("stopped", "it ended")),
        ("failed", "no such program", ("failed", "no such program")),
    ],
)
async def test_what_becomes_of_a_server_is_written_down_and_its_tools_are_kept(
    world: McpWorld, change: str, said_of_it: str, after: tuple[str, str | None]
) -> None:
    await world.mcp.listing.follow()
    world.mcp.listing.note("books", change, said_of_it)
    await world.mcp.listing.wait_for_notes()
    assert row(world) == (*after, ["count", "add"])
    world.mcp.listing.note("books", "started")
    await world.mcp.listing.wait_for_notes()
    assert row(world) == ("ready", None, ["count", "add"])


@pytest.mark.parametrize("was_idle", [False, True])
async def test_a_server_with_a_url_is_listed_again_once_its_list_is_old(
    world: McpWorld, was_idle: bool
) -> None:
    world.cards.put(url="https://mcp.example.com/", command=None)
    listing = world.mcp.listing
    await listing.follow()
    world.servers.schemas["books"].append(ToolSchema(name="late"))
    if was_idle:
        listing.note("books", "stopped")
        await listing.wait_for_notes()

    async def look() -> list[str]:
        await listing.follow()
        if was_idle:
            listing.note("books", "started")
            await listing.wait_for_notes()
        return row(world)[2]

    world.clock.advance(600)
    assert await look() == ["count", "add"]
    if was_idle:
        listing.note("books", "stopped")
        await listing.wait_for_notes()
    states: list[str] = []
    world.tables.watchers.append(lambda _, key: states.append(world.tables.tools[key].state))
    world.clock.advance(301)
    assert await look() == ["count", "add", "late"]
    assert "starting" not in states, "runs would wait for it"
    written = len(states)
    for _ in range(3):
        world.clock.advance(1000)
        await listing.follow()
    assert len(states) == written, "a list that has not changed is not written again"


async def test_a_server_that_is_a_process_tells_of_changes_and_is_not_listed_again(
    world: McpWorld,
) -> None:
    await world.mcp.listing.follow()
    world.servers.schemas["books"].append(ToolSchema(name="late"))
    world.clock.advance(86_400)
    await world.mcp.listing.follow()
    assert row(world)[2] == ["count", "add"]
