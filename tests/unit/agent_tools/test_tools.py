"""Agents are tools of MCP: listed, asked, with structured output, in every revision."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aos.errors import RunFailed
from aos.testing import MemoryWorld, ScriptedModel
from tests.unit.ag_ui.client import AgUiClient
from tests.unit.agent_tools.serving import NEWEST, newest, post

COUNT = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


async def asking(*answers: Any, **card: Any) -> MemoryWorld:
    world = MemoryWorld(model=ScriptedModel(*answers))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead the company.", **card})
    return world


def old(method: str, version: str = "2025-06-18", **params: Any) -> tuple[dict[str, Any], Any]:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return body, {"mcp-protocol-version": version}


async def test_the_newest_revision_discovers_lists_and_asks() -> None:
    world = await asking("Rise.")
    body, headers = newest("server/discover")
    about = (await post(world, body, **headers)).result
    assert about["supportedVersions"] == [NEWEST]
    assert about["capabilities"]["extensions"] == {"io.modelcontextprotocol/tasks": {}}
    body, headers = newest("tools/list")
    (tool,) = (await post(world, body, **headers)).result["tools"]
    assert tool["name"] == "ask_ceo"
    assert "Lead the company." in tool["description"]
    assert tool["inputSchema"]["required"] == ["message"]
    assert "outputSchema" not in tool
    arguments = {"message": "Prices?", "conversation_id": "c"}
    body, headers = newest("tools/call", {"name": "ask_ceo", "arguments": arguments})
    result = (await post(world, body, **headers)).result
    assert (result["content"], result["isError"]) == ([{"type": "text", "text": "Rise."}], False)
    assert result["_meta"]["aos/conversation_id"] == "c"
    history = await world.history("c")
    assert [(m.role, m.content) for m in history] == [("user", "Prices?"), ("assistant", "Rise.")]
    assert history[0].run_id == result["_meta"]["aos/run_id"]


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
async def test_older_revisions_shake_hands_list_and_ask(version: str) -> None:
    world = await asking('{"n": 3}', output_schema=COUNT)
    hello = {"capabilities": {}, "clientInfo": {"name": "someone", "version": "1"}}
    body, headers = old("initialize", version, protocolVersion=version, **hello)
    about = (await post(world, body, **headers)).result
    assert (about["serverInfo"]["name"], about["protocolVersion"]) == ("aos", version)
    noted = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await post(world, noted, **headers)).status == 202
    body, headers = old("tools/list", version)
    (tool,) = (await post(world, body, **headers)).result["tools"]
    body, headers = old("tools/call", version, name="ask_ceo", arguments={"message": "How many?"})
    result = (await post(world, body, **headers)).result
    assert result["content"] == [{"type": "text", "text": '{"n": 3}'}]
    if version >= "2025-06-18":
        assert tool["outputSchema"] == COUNT
        assert result["structuredContent"] == {"n": 3}


async def test_only_agents_that_may_run_are_listed_page_by_page() -> None:
    world = MemoryWorld()
    for number in range(3):
        await world.put_agent(
            {"agent_id": f"a{number}", "purpose": "Lead.", "enabled": number != 1}
        )
    body, headers = newest("tools/list")
    tools = (await post(world, body, **headers)).result["tools"]
    assert [tool["name"] for tool in tools] == ["ask_a0", "ask_a2"]
    body, headers = newest("tools/list", {"cursor": "a0"})
    tools = (await post(world, body, **headers)).result["tools"]
    assert [tool["name"] for tool in tools] == ["ask_a2"]


async def test_a_run_that_fails_is_told_the_model_that_asked() -> None:
    world = await asking(RunFailed("model_rejected", "the endpoint refused it"))
    body, headers = newest("tools/call", {"name": "ask_ceo", "arguments": {"message": "Hi"}})
    result = (await post(world, body, **headers)).result
    assert result["isError"] is True
    assert "the endpoint refused it (model_rejected)" in result["content"][0]["text"]


async def test_an_idempotency_key_makes_a_repeat_the_same_run() -> None:
    world = await asking("One.", "Two.")
    body, headers = newest("tools/call", {"name": "ask_ceo", "arguments": {"message": "Hi"}})
    for _ in range(2):
        result = (await post(world, body, **headers, **{"idempotency-key": "k"})).result
        assert result["content"][0]["text"] == "One."
    assert len(world.tables.requests) == 1


async def test_progress_is_told_where_it_is_asked_for() -> None:
    world = await asking()
    asked = asyncio.Event()
    complete = world.model.complete

    async def slow(call: Any) -> Any:
        await asked.wait()
        return await complete(call)

    world.model.complete = slow  # type: ignore[method-assign]
    call = {"name": "ask_ceo", "arguments": {"message": "Hi"}, "_meta": {"progressToken": "p"}}
    body, headers = newest("tools/call", call)
    asyncio.get_running_loop().call_later(1.5, asked.set)
    told = await post(world, body, **headers)
    assert told.result["isError"] is False
    assert [note["params"]["progressToken"] for note in told.progress]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "message is not a text"),
        ({"message": 7}, "message is not a text"),
        ({"message": " "}, "message"),
        ({"message": "a", "conversation_id": "a/b"}, "conversation_id is not 1 to 128"),
        ({"message": "a", "conversation_id": 7}, "conversation_id is not 1 to 128"),
        ({"message": "a", "mood": "good"}, "there is no argument 'mood'"),
    ],
)
async def test_arguments_that_do_not_fit_are_told_the_model(arguments: Any, says: str) -> None:
    world = await asking()
    body, headers = newest("tools/call", {"name": "ask_ceo", "arguments": arguments})
    result = (await post(world, body, **headers)).result
    assert result["isError"] is True
    assert says in result["content"][0]["text"]
    assert not world.tables.requests


async def test_a_conversation_goes_on_through_every_door() -> None:
    world = await asking("One.", "Two.", "Three.")
    await world.ask("ceo", "First?", conversation_id="c")
    arguments = {"message": "Second?", "conversation_id": "c"}
    body, headers = newest("tools/call", {"name": "ask_ceo", "arguments": arguments})
    assert (await post(world, body, **headers)).result["content"][0]["text"] == "Two."
    client = AgUiClient(world, thread="c")
    client.say("Third?")
    await client.run()
    said = ["First?", "One.", "Second?", "Two.", "Third?", "Three."]
    assert [message.content for message in await world.history("c")] == said
    assert [message["content"] for message in client.messages] == said
