"""Tools of the front end: AOS offers them to the model, and the front end runs them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from aos.domain.runs.run import RunStatus
from aos.services.run_events import reader
from aos.testing import Calls, MemoryWorld, ScriptedModel
from tests.unit.a2a.kit import SECRET, a_message, rpc
from tests.unit.ag_ui.client import AgUiClient, Json, post, read_answer, text_of, types_of
from tests.unit.tools.worlds import CLOCK, noon, nothing

PLACE = {
    "name": "get_place",
    "description": "Where the user is.",
    "parameters": {"type": "object", "properties": {"fine": {"type": "boolean"}}},
}
WHERE = ("get_place", {"fine": True})
NOW = ("clock__now", {})
GIF = {"type": "url", "value": "https://example.com/a.gif"}
SET = ("clock__set", {"to": "noon"})


async def a_page(*answers: Any, grants: Sequence[Any] = (), **card: Any) -> AgUiClient:
    """A page that has asked something."""
    world = MemoryWorld(model=ScriptedModel(*answers), settings={"AOS_WEBHOOK_SECRET": SECRET})
    await world.put_mcp_server(CLOCK, {"now": noon, "set": nothing})
    whole = {"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": list(grants), **card}
    assert (await world.put_agent(whole))["errors"] == []
    client = AgUiClient(world)
    client.say("Where am I?")
    return client


def answer(client: AgUiClient, call_id: str, content: Any, **more: Any) -> None:
    """The application's result of a call, as @ag-ui/client and CopilotKit keep it."""
    client.messages.append(
        {"id": f"r-{call_id}", "role": "tool", "toolCallId": call_id, "content": content, **more}
    )


def pending(events: Sequence[Json]) -> list[str]:
    """The calls that a run left to the application."""
    outcome = events[-1]["outcome"]
    assert outcome["type"] == "success"
    found: list[str] = outcome.get("pendingToolCallIds", [])
    return found


async def only_run(client: AgUiClient) -> str:
    (run_id,) = client.world.tables.requests
    return str(run_id)


async def test_a_call_ends_the_run_and_its_result_lets_the_next_one_go_on() -> None:
    client = await a_page(Calls(WHERE, text="Let me see."), "You are in Rome.")
    events = await client.run(tools=[PLACE])
    (call_id,) = pending(events)
    assert "TOOL_CALL_RESULT" not in types_of(events)
    (call,) = client.messages[-1]["toolCalls"]
    assert call["function"] == {"name": "get_place", "arguments": '{"fine": true}'}
    answer(client, call_id, "Rome")
    rest = await client.run(tools=[PLACE])
    assert types_of(rest)[0] == "RUN_STARTED"
    assert text_of(rest) == "You are in Rome."
    assert rest[-1]["outcome"] == {"type": "success"}
    assert types_of(rest).count("MESSAGES_SNAPSHOT") == 0, "client and conversation agree"
    run = await client.world.run(await only_run(client))
    assert run.status is RunStatus.COMPLETED
    history = await client.world.history("t")
    assert [m.content for m in history] == [
        "Where am I?",
        "Let me see.",
        "Rome",
        "You are in Rome.",
    ]
    (offered,) = client.world.model.calls[0].tools
    assert (offered.name, offered.description) == ("get_place", "Where the user is.")


async def test_a_run_waits_for_its_own_tools_and_leaves_those_of_the_application_together() -> None:
    client = await a_page(Calls(WHERE, NOW, WHERE), "Done.", grants=["clock/now"])
    events = await client.run(tools=[PLACE])
    first, of_clock, second = client.messages[1]["toolCalls"]
    assert pending(events) == [first["id"], second["id"]]
    assert [e["toolCallId"] for e in events if e["type"] == "TOOL_CALL_RESULT"] == [of_clock["id"]]
    answer(client, first["id"], "Rome")
    answer(
        client, second["id"], [{"type": "text", "text": "Oslo"}, {"type": "image", "source": GIF}]
    )
    rest = await client.run()
    assert text_of(rest) == "Done."
    assert [e["type"] for e in rest].count("TOOL_CALL_RESULT") == 0, "the client has them all"
    assert (
        "parts other than text"
        in next(e for e in rest if e["type"] == "CUSTOM")["value"]["message"]
    )
    shown = [m.content for m in client.world.model.calls[1].messages if m.role == "tool"]
    assert shown == ["Rome", "noon in UTC", "Oslo"]


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({"error": "the user said no"}, "error: the user said no"),
        ({"content": ""}, ""),
        ({"content": None}, ""),
        ({"content": "ж" * 40_000}, "[cut: "),
    ],
)
async def test_what_the_application_says_is_the_result(more: Json, shown: str) -> None:
    client = await a_page(Calls(WHERE), "Well.")
    (call_id,) = pending(await client.run(tools=[PLACE]))
    answer(client, call_id, "x")
    client.messages[-1] |= more
    body = {"threadId": "t", "runId": "r2", "messages": client.messages}
    assert text_of(await client.post_and_read(body)) == "Well."
    result = client.world.model.calls[1].messages[-1].content
    assert shown in result
    assert len(result.encode()) < 66_000


async def test_a_new_question_beside_the_result_is_a_run_of_its_own() -> None:
    client = await a_page(Calls(WHERE), "In Rome.", "At noon.")
    (call_id,) = pending(await client.run(tools=[PLACE]))
    answer(client, call_id, "Rome")
    client.say("And when?")
    assert text_of(await client.run(tools=[PLACE])) == "At noon."
    contents = [m.content for m in await client.world.history("t")]
    assert contents == ["Where am I?", "", "Rome", "In Rome.", "And when?", "At noon."]


async def test_a_new_question_without_the_result_says_that_there_is_none() -> None:
    client = await a_page(Calls(WHERE), "I do not know.", "At noon.")
    assert pending(await client.run(tools=[PLACE]))
    client.say("And when?")
    assert text_of(await client.run(tools=[PLACE])) == "At noon."
    tool = client.world.model.calls[1].messages[-1]
    assert tool.content == "error: the application gave no result"


async def test_the_same_input_again_tells_the_same_rest() -> None:
    client = await a_page(Calls(WHERE), Calls(NOW), "In Rome.", grants=["clock/now"])
    (call_id,) = pending(await client.run(tools=[PLACE]))
    answer(client, call_id, "Rome")
    body = {"threadId": "t", "runId": "r2", "messages": list(client.messages)}
    first = await client.post_and_read(body)
    assert await client.post_and_read(body) == first
    assert text_of(first) == "In Rome."
    assert len(client.world.tables.requests) == 1


async def test_calls_follow_each_other_and_an_approval_may_come_beside_one() -> None:
    guarded = {"server": "clock", "tools": ["set"], "approval": "always"}
    client = await a_page(Calls(WHERE), Calls(SET, WHERE), "Done.", grants=[guarded])
    (call_id,) = pending(await client.run(tools=[PLACE]))
    answer(client, call_id, "Rome")
    events = await client.run(tools=[PLACE])
    assert events[-1]["outcome"]["type"] == "interrupt"
    (_, second) = client.messages[-1]["toolCalls"]
    answer(client, second["id"], "Oslo")
    assert text_of(await client.resume(events, {"approved": True})) == "Done."
    assert client.world.model.calls[2].messages[-1].content == "Oslo"


async def test_a_page_that_is_loaded_again_is_left_the_calls_and_answers_them() -> None:
    client = await a_page(Calls(WHERE), "In Rome.")
    await client.run(tools=[PLACE])
    page = AgUiClient(client.world)
    page.runs = 7
    (call_id,) = pending(await page.run(tools=[PLACE]))
    answer(page, call_id, "Rome")
    assert text_of(await page.run(tools=[PLACE])) == "In Rome."


async def test_the_call_is_a_question_for_every_door() -> None:
    client = await a_page(Calls(WHERE), "In Rome.")
    (call_id,) = pending(await client.run(tools=[PLACE]))
    run_id = await only_run(client)
    run = await client.world.run(run_id)
    assert run.status is RunStatus.WAITING_INPUT
    assert run.waiting is not None
    assert run.waiting.reason == "the application that asked has to answer get_place"
    (asked,) = (await client.world.waiting_questions()).items
    assert (asked.question_id, asked.tool) == (call_id, "get_place")
    assert '{"fine": true}' in asked.message


@pytest.mark.parametrize("part", ["Rome", {"data": {"result": "Rome"}}])
async def test_another_door_gives_the_result(part: Any) -> None:
    client = await a_page(Calls(WHERE), "In Rome.")
    (call_id,) = pending(await client.run(tools=[PLACE]))
    run_id = await only_run(client)
    reply = await rpc(client.world, "GetTask", {"id": run_id})
    assert reply.body["result"]["status"]["message"]["parts"][1]["data"]["questionId"] == call_id
    answered = await rpc(client.world, "SendMessage", {"message": a_message(part, taskId=run_id)})
    assert answered.body["result"]["task"]["artifacts"][0]["parts"] == [{"text": "In Rome."}]
    assert client.world.model.calls[1].messages[-1].content == "Rome"
    page = AgUiClient(client.world)
    page.runs = 7
    await page.run()
    assert page.messages[-1]["content"] == "In Rome."


async def test_nobody_is_notified_of_a_call_that_the_page_answers() -> None:
    url = "https://hooks.example.com/"
    client = await a_page(Calls(WHERE), "In Rome.", notify={"url": url})
    (call_id,) = pending(await client.run(tools=[PLACE]))
    answer(client, call_id, "Rome")
    await client.run(tools=[PLACE])
    await client.world.settle()
    told = [json.loads(sent.body)["type"] for sent in client.world.receivers.tries]
    assert told == ["run.completed"]


async def test_a_result_for_a_run_of_another_thread_is_refused() -> None:
    client = await a_page(Calls(WHERE), "In Rome.")
    (call_id,) = pending(await client.run(tools=[PLACE]))
    answer(client, call_id, "Rome")
    body = {"threadId": "other", "runId": "r2", "messages": client.messages}
    refused = await post(client.world, body)
    assert json.loads(refused.get_body())["error"]["code"] == "run_not_found"
    (run,) = [await client.world.run(await only_run(client))]
    assert run.status is RunStatus.WAITING_INPUT


async def test_a_tool_of_the_card_counts_before_one_of_the_application() -> None:
    client = await a_page(Calls(NOW), "Noon.", grants=["clock/now"])
    mine = {"name": "clock__now", "description": "Mine."}
    events = await client.run(tools=[mine, PLACE])
    assert text_of(events) == "Noon."
    names = [tool.name for tool in client.world.model.calls[0].tools]
    assert names == ["clock__now", "get_place"]


async def test_without_tools_nothing_is_offered() -> None:
    for more in ({"tools": []}, {"tools": None}, {}):
        client = await a_page("Hello.")
        body = {"threadId": "t", "runId": "r", "messages": client.messages, **more}
        events = await read_answer(await settled_post(client, body))
        assert text_of(events) == "Hello."
        assert client.world.model.calls[0].tools == ()


async def settled_post(client: AgUiClient, body: Json) -> Any:
    found = await post(client.world, body)
    await client.world.settle()
    return found


@pytest.mark.parametrize("given", ["", "x"])
async def test_a_result_is_given_to_a_run_with_more_events_than_a_page_has(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a call that the run never made, too: the search for its question ends."""
    clocks = [Calls(*[NOW] * 16)] * 4
    client = await a_page(*clocks, Calls(WHERE), "You are in Rome.", grants=["clock/now"])
    (call_id,) = pending(await client.run(tools=[PLACE]))
    answer(client, call_id, "Rome")
    client.messages[-1]["toolCallId"] += given
    client.messages[-2]["toolCalls"][-1]["id"] += given
    monkeypatch.setattr(reader, "EVENTS_A_PAGE", 100)
    async with asyncio.timeout(10):
        body = {"threadId": "t", "runId": "r2", "messages": client.messages, "tools": [PLACE]}
        rest = await client.post_and_read(body)
    told = [event["toolCallId"] for event in rest if event["type"] == "TOOL_CALL_START"]
    if given:
        assert call_id in told, "it is told from its beginning"
        assert pending(rest) == [call_id], "and asks again"
    else:
        assert (text_of(rest), told) == ("You are in Rome.", [])


async def test_tools_whose_references_make_megabytes_are_not_offered() -> None:
    """Each turn fits the tools anew, on the event loop of all conversations."""
    levels: Json = {
        f"d{n}": {"properties": {f"p{i}": {"$ref": f"#/$defs/d{n + 1}"} for i in range(3)}}
        for n in range(7)
    }
    levels["d7"] = {"type": "string", "description": "x" * 90}
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": levels}
    client = await a_page("Well.")
    huge = [{"name": f"t{n}", "description": "?", "parameters": schema} for n in range(100)]
    events = await client.run(tools=[PLACE, *huge])
    assert text_of(events) == "Well."
    (call,) = client.world.model.calls
    assert call.tools[0].name == "get_place"
    assert len(json.dumps([tool.parameters for tool in call.tools])) < 2_000_000
