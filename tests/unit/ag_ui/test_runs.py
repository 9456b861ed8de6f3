"""Applications of AG-UI run agents: texts, tools, state, repeats, cuts."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

from aos.domain.runs.run_events import RunEvent
from aos.entrypoints.http.streams import StreamedResponse
from aos.errors import RunFailed
from aos.testing import Calls, MemoryWorld, ScriptedModel
from tests.unit.ag_ui.client import (
    AgUiClient,
    post,
    read_answer,
    read_stream,
    text_of,
    types_of,
)
from tests.unit.run_events.test_watched import BreaksOff

CLOCK = {"server_id": "clock", "command": "npx", "args": ["-y", "@modelcontextprotocol/clock"]}
CEO: dict[str, Any] = {"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": ["clock"]}


LEFT_OUT = ("content[3]", "content[4]", "images and PDF files")


async def talking(*answers: Any, model: ScriptedModel | None = None, **card: Any) -> AgUiClient:
    """A client whose agent answers so."""
    world = MemoryWorld(model=model or ScriptedModel(*answers))
    await world.put_mcp_server(CLOCK, {"now": lambda _: "noon"})
    await world.put_agent({**CEO, **card})
    return AgUiClient(world)


async def test_a_text_is_told_in_pieces_and_the_run_is_finished() -> None:
    client = await talking("Rise by two percent.")
    client.say("Prices?")
    events = await client.run()
    assert types_of(events) == [
        "RUN_STARTED",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]
    assert sum(event["type"] == "TEXT_MESSAGE_CONTENT" for event in events) > 1
    run_id = events[0]["metadata"]["aos"]["run_id"]
    run = await client.world.run(run_id)
    assert text_of(events) == run.output == "Rise by two percent."
    assert events[0]["protocolVersion"] == "1.0"
    assert events[-1]["outcome"] == {"type": "success"}
    (usage,) = events[-1]["usage"]
    assert usage == {
        "model": "scripted",
        "inputTokens": run.usage.input_tokens,
        "outputTokens": 4,
        "totalTokens": run.usage.total_tokens,
    }


async def test_a_thread_is_a_conversation_and_only_the_last_message_is_new() -> None:
    client = await talking("One.", "Two.")
    for text in ("First?", "Second?"):
        client.say(text)
        events = await client.run()
        assert "MESSAGES_SNAPSHOT" not in types_of(events)
    history = [(m.role, m.content) for m in await client.world.history("t")]
    assert history == [
        ("user", "First?"),
        ("assistant", "One."),
        ("user", "Second?"),
        ("assistant", "Two."),
    ]
    assert [(m["role"], m["content"]) for m in client.messages] == history


async def test_tools_are_told_with_their_results_and_the_client_has_the_whole_history() -> None:
    client = await talking(Calls(("clock__now", {}), text="I look."), "It is noon.")
    client.say("Time?")
    events = await client.run()
    assert types_of(events) == [
        "RUN_STARTED",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "TOOL_CALL_START",
        "TOOL_CALL_ARGS",
        "TOOL_CALL_END",
        "TOOL_CALL_RESULT",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]
    assert [(m["role"], m["content"]) for m in client.messages] == [
        ("user", "Time?"),
        ("assistant", "I look."),
        ("tool", "noon"),
        ("assistant", "It is noon."),
    ]
    (call,) = client.messages[1]["toolCalls"]
    assert call["function"] == {"name": "clock__now", "arguments": "{}"}
    assert client.messages[2]["toolCallId"] == call["id"]


async def test_a_client_that_lacks_messages_is_told_all_of_them() -> None:
    client = await talking("One.", "Two.")
    client.say("First?")
    await client.run()
    client.messages = []  # the page was loaded again
    client.say("Second?")
    events = await client.run()
    assert types_of(events)[-2:] == ["MESSAGES_SNAPSHOT", "RUN_FINISHED"]
    assert [m["content"] for m in client.messages] == ["First?", "One.", "Second?", "Two."]


async def test_the_same_run_again_runs_once_and_tells_the_same() -> None:
    client = await talking("One.", "Two.")
    client.say("First?")
    asked = list(client.messages)
    first = await client.run()
    again = await client.run(runId="r1", messages=asked)
    assert [e for e in again if e["type"] != "MESSAGES_SNAPSHOT"] == first
    assert len(client.world.model.calls) == 1  # type: ignore[attr-defined]
    other = {"threadId": "t", "runId": "r1", "messages": [{**asked[0], "content": "Other?"}]}
    answer = await post(client.world, other)
    assert answer.status_code == 422
    assert json.loads(answer.get_body())["error"]["code"] == "idempotency_conflict"


async def test_a_client_that_was_cut_sends_its_run_again_and_holds_nothing_twice() -> None:
    client = await talking("Rise by two percent.")
    client.say("Prices?")
    body = {"threadId": "t", "runId": "r1", "messages": client.messages}
    text = await client.post(body)
    cut = text[: text.index("percent")].rpartition("\n\n")[0]
    client.apply(read_stream(cut, whole=False))
    held = client.messages[-1]["content"]
    assert held
    assert "Rise by two ".startswith(held)
    again = read_stream(await client.post({**body, "messages": client.messages}))
    assert types_of(again)[:2] == ["RUN_STARTED", "MESSAGES_SNAPSHOT"]
    client.apply(again)
    assert [m["content"] for m in client.messages] == ["Prices?", "Rise by two percent."]
    assert len(client.world.model.calls) == 1  # type: ignore[attr-defined]


async def test_an_attempt_that_writes_something_else_is_another_message() -> None:
    client = await talking(model=BreaksOff("Rise by two percent."))
    client.say("Prices?")
    body = {"threadId": "t", "runId": "r1", "messages": client.messages}
    answer = await post(client.world, body)
    await client.world.settle()
    await client.world.advance(120)
    events = await read_answer(answer)
    client.apply(events)
    starts = [e["messageId"] for e in events if e["type"] == "TEXT_MESSAGE_START"]
    assert len(set(starts)) == 2
    assert types_of(events)[3:7] == [
        "CUSTOM",  # the model is away
        "TEXT_MESSAGE_END",
        "MESSAGES_SNAPSHOT",
        "TEXT_MESSAGE_START",
    ]
    assert text_of(events).startswith("Fall by ")
    assert [m["content"] for m in client.messages] == ["Prices?", "Rise by two percent."]


async def test_context_state_and_instructions_reach_the_model_and_not_the_history() -> None:
    client = await talking("Yes.")
    client.state = {"cart": ["book"]}
    client.messages.append({"id": "s", "role": "system", "content": "Be short."})
    client.say("Enough?")
    context = [{"description": "The page", "value": "checkout"}]
    await client.run(context=context, forwardedProps={"tab": 7})
    (call,) = client.world.model.calls  # type: ignore[attr-defined]
    asked = call.messages[-1].content
    for part in ("Be short.", "The page:\ncheckout", '{"cart": ["book"]}', "Enough?"):
        assert part in asked
    assert [m.content for m in await client.world.history("t")] == ["Enough?", "Yes."]
    (request,) = client.world.tables.requests.values()
    assert request.request.metadata == {"forwardedProps": {"tab": 7}}


async def test_an_agent_with_an_output_schema_writes_the_state() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    client = await talking('{"n": 3}', output_schema=schema)
    client.say("How many?")
    events = await client.run()
    assert client.state == {"n": 3}
    assert (events[-1]["result"], events[-1]["outcome"]) == ({"n": 3}, {"type": "success"})


async def test_a_run_that_fails_is_an_error_of_the_run() -> None:
    client = await talking(RunFailed("model_rejected", "the endpoint refused it"))
    client.say("Prices?")
    events = await client.run()
    assert events[-1]["type"] == "RUN_ERROR"
    assert events[-1]["code"] == "model_rejected"
    assert "refused" in events[-1]["message"]


async def test_a_cancelled_run_is_neither_a_success_nor_an_error() -> None:
    client = await talking(model=BreaksOff())
    client.say("Prices?")
    body = {"threadId": "t", "runId": "r1", "messages": client.messages}
    answer = await post(client.world, body)
    await client.world.settle()  # the model is away
    (run_id,) = client.world.tables.requests
    await client.world.cancel(run_id)
    events = await read_answer(answer)
    assert text_of(events) == "Fall by "
    assert events[-1]["outcome"] == {"type": "cancelled"}


async def test_a_client_that_goes_away_cancels_nothing() -> None:
    client = await talking("Rise.")
    client.say("Prices?")
    body = {"threadId": "t", "runId": "r1", "messages": client.messages}
    answer = await post(client.world, body)
    assert isinstance(answer, StreamedResponse)
    assert b"RUN_STARTED" in await anext(answer.pieces)
    await answer.pieces.aclose()
    await client.world.settle()
    (run_id,) = client.world.tables.requests
    assert (await client.world.run(run_id)).output == "Rise."


async def test_parts_that_aos_cannot_use_are_left_out_and_named() -> None:
    client = await talking("Nice.")
    picture = {"type": "data", "value": "iVBORw0KGgo=", "mimeType": "image/png"}
    client.say(
        [
            {"type": "text", "text": "What is this?"},
            {"type": "image", "source": picture},
            {
                "type": "document",
                "source": {"type": "data", "value": "aGk=", "mimeType": "text/plain"},
            },
            {"type": "audio", "source": {"type": "url", "value": "https://example.com/a"}},
            {"type": "image", "source": {"type": "file", "value": "file-1"}},
        ]
    )
    events = await client.run()
    warned = [e["value"]["message"] for e in events if e["type"] == "CUSTOM"]
    assert [says in text for says, text in zip(LEFT_OUT, warned, strict=True)] == [True] * 3
    (message, _) = await client.world.history("t")
    assert message.content == "What is this?"
    assert [part["type"] for part in message.parts] == ["resource"]  # the text file
    again = await client.run(runId="r1", messages=client.messages[:1])
    assert text_of(again) == "Nice."


async def test_a_fault_in_the_middle_is_an_error_of_the_run() -> None:
    client = await talking("One two three.")
    client.say("Count.")
    follow = client.world.main.caller_runs.follow

    async def break_down(*args: Any, **more: Any) -> AsyncGenerator[RunEvent | None, None]:
        async for event in follow(*args, **more):
            yield event
            if event is not None and event.type == "message.delta":
                raise RuntimeError("secret")

    client.world.main.caller_runs.follow = break_down  # type: ignore[method-assign]
    events = await client.run()
    assert types_of(events)[-3:] == ["TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "RUN_ERROR"]
    assert events[-1]["code"] == "internal_error"
    assert "send the same input again" in events[-1]["message"]
    assert "secret" not in str(events)
    client.world.main.caller_runs.follow = follow  # type: ignore[method-assign]
    client.runs -= 1
    assert (await client.run())[-1]["outcome"] == {"type": "success"}
    assert [m["content"] for m in client.messages] == ["Count.", "One two three."]
