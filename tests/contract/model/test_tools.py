"""The ChatModel port and tools: what the endpoint is told of them, and what its calls mean."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from aos.adapters.model.openai_chat import OpenAIChatModel
from aos.domain.runs.run import Usage
from aos.domain.tools.tool import AskedCall, MessageCall, OfferedTool
from aos.ports.model import ChatMessage, ModelAnswer, ModelCall
from tests.scripted_model import Say, ScriptedModel

SCHEMA = {"type": "object", "properties": {"zone": {"type": "string", "default": "UTC"}}}
CLOCK = OfferedTool(name="time__now", description="The time.", parameters=SCHEMA)


def a_call(*messages: ChatMessage, tools: tuple[OfferedTool, ...] = (CLOCK,)) -> ModelCall:
    question = ChatMessage(role="user", content="What time is it?")
    return ModelCall(
        model=None, messages=(question, *messages), parameters={}, timeout_seconds=10, tools=tools
    )


async def test_tools_are_offered_with_their_schema_as_it_is(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    await model.complete(a_call())
    [request] = endpoint.requests
    assert request.body["tools"] == [
        {
            "type": "function",
            "function": {"name": "time__now", "description": "The time.", "parameters": SCHEMA},
        }
    ]


async def test_without_tools_the_request_says_nothing_of_them(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    await model.complete(a_call(tools=()))
    assert set(endpoint.requests[0].body) == {"model", "messages"}


async def test_earlier_calls_and_results_go_out_under_ids_that_every_endpoint_takes(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    call = MessageCall(tool_call_id="call_00000001_0_0", name="time__now", arguments="{}")
    await model.complete(
        a_call(
            ChatMessage(role="assistant", content="", tool_calls=(call,)),
            ChatMessage(role="tool", content="noon", tool_call_id="call_00000001_0_0"),
        )
    )
    short = endpoint.requests[0].messages[2]["tool_call_id"]
    assert re.fullmatch("[0-9A-Za-z]{9}", short)
    assert endpoint.requests[0].messages[1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": short,
                    "type": "function",
                    "function": {"name": "time__now", "arguments": "{}"},
                }
            ],
        },
        {"role": "tool", "tool_call_id": short, "content": "noon"},
    ]


async def test_calls_are_read_as_the_model_wrote_them_and_its_ids_are_passed_over(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.script(Say("One moment.", calls=[("time__now", "{broken"), ("nope", {"a": 1})]))
    assert await model.complete(a_call()) == ModelAnswer(
        text="One moment.",
        usage=Usage(input_tokens=1, output_tokens=1),
        model="base",
        tool_calls=(
            AskedCall(name="time__now", arguments="{broken"),
            AskedCall(name="nope", arguments='{"a": 1}'),
        ),
        finish_reason="tool_calls",
    )


async def test_calls_without_a_text_are_an_answer(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.script(Say(calls=[("time__now", {})]))
    answer = await model.complete(a_call())
    assert (answer.text, len(answer.tool_calls)) == ("", 1)


async def test_arguments_given_as_an_object_are_read_too(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    function = {"name": "time__now", "arguments": {"zone": "CET"}}
    message = {"content": None, "tool_calls": [{"function": function}, "rubbish", {}]}
    endpoint.script(Say(body={"choices": [{"message": message}]}))
    answer = await model.complete(a_call())
    assert answer.tool_calls == (AskedCall(name="time__now", arguments='{"zone": "CET"}'),)


async def test_calls_of_a_model_that_was_offered_nothing_are_read_so_that_it_can_be_told(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.script(Say("Noon.", calls=[("time__now", {})]))
    answer = await model.complete(a_call(tools=()))
    assert answer.tool_calls == (AskedCall(name="time__now", arguments="{}"),)


async def test_what_an_endpoint_sends_of_its_own_goes_back_to_it_and_to_no_other(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    function = {"name": "time__now", "arguments": "{}"}
    message = {
        "content": None,
        "reasoning_content": "I look at the clock.",
        "annotations": [],
        "tool_calls": [{"id": "x", "function": function, "extra_content": {"signature": "s"}}],
    }
    endpoint.script(Say(body={"choices": [{"message": message}]}))
    answer = await model.complete(a_call())
    call = MessageCall(tool_call_id="c1", name="time__now", arguments="{}")
    history = (
        ChatMessage(role="assistant", content="", tool_calls=(call,), fields=answer.fields),
        ChatMessage(role="tool", content="", tool_call_id="c1"),
        ChatMessage(role="assistant", content="Noon."),
        ChatMessage(role="user", content="And now?"),
    )
    await model.complete(a_call(*history))
    sent = endpoint.requests[1].messages
    assert sent[1]["reasoning_content"] == "I look at the clock."
    assert sent[1]["tool_calls"][0]["extra_content"] == {"signature": "s"}
    assert "annotations" not in sent[1]
    assert sent[2]["content"], "no tool message is blank"
    assert sent[3] == {"role": "assistant", "content": "Noon.", "reasoning_content": ""}

    await model.complete(replace(a_call(*history), model="another"))
    assert "reasoning_content" not in endpoint.requests[2].messages[1]
    assert "extra_content" not in endpoint.requests[2].messages[1]["tool_calls"][0]


async def test_what_an_endpoint_sends_of_its_own_is_bounded(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    message = {"content": "x", "reasoning": "ü" * 100_000, "blob": ["y" * 100_000], "small": 1}
    endpoint.script(Say(body={"choices": [{"message": message}]}))
    fields = (await model.complete(a_call())).fields
    assert fields is not None
    assert set(fields.message) <= {"reasoning", "small"}
    assert len(json.dumps(fields.message, ensure_ascii=False).encode()) <= 65 * 1024
