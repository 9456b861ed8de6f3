"""The ChatModel port on the Responses API: reasoning is kept, sent back and left out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aos.adapters.model.endpoint import ModelEndpoint
from aos.adapters.model.openai_chat import OpenAIChatModel
from aos.domain.tools.tool import AskedCall, EndpointFields
from aos.ports.model import ChatMessage, ModelCall
from tests.contract.model.calls import KEY, a_call
from tests.contract.model.responses.turns import (
    CALL,
    QUESTION,
    REASONING,
    a_response,
    a_turn,
    called,
    said,
    text,
)
from tests.dialects.responses_checks import items_fault
from tests.scripted_model import Request, Say, ScriptedModel


async def test_reasoning_goes_back_before_its_call_to_the_same_endpoint_and_model_alone(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    sent = {**REASONING, "status": "completed", "content": None}
    endpoint.script(a_response(sent, {**CALL, "arguments": "{}"}))
    answer = await model.complete(a_turn())
    assert (answer.text, answer.finish_reason) == ("", "tool_calls")
    assert answer.tool_calls == (AskedCall(name="time__now", arguments="{}"),)
    await model.complete(a_turn(*called(answer)))
    items = endpoint.requests[1].body["input"]
    assert items[1] == REASONING
    assert [item["type"] for item in items[2:]] == ["function_call", "function_call_output"]
    assert items[2]["call_id"] == items[3]["call_id"]
    assert items_fault(items) is None

    await model.complete(a_turn(*called(answer), model="another"))
    await chat_with(endpoint, a_turn(*called(answer)))
    for request in endpoint.requests[2:]:
        assert "gAAAA" not in json.dumps(request.body)
    assert set(endpoint.requests[3].messages[1]) == {"role", "content", "tool_calls"}


async def chat_with(endpoint: ScriptedModel, call: ModelCall) -> None:
    """Ask the same endpoint and model by chat completions."""
    chat = OpenAIChatModel(ModelEndpoint(base_url=endpoint.endpoint, model="base", api_key=KEY))
    await chat.complete(call)
    await chat.close()


async def test_several_reasoning_items_and_phases_keep_their_places(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    second = {**REASONING, "id": "rs_2", "encrypted_content": "gAAAA-rs_2"}
    endpoint.script(
        a_response(
            REASONING,
            said(text("I look."), phase="commentary"),
            second,
            {**CALL, "arguments": "{}"},
        )
    )
    answer = await model.complete(a_turn())
    await model.complete(a_turn(*called(answer)))
    items = endpoint.requests[1].body["input"]
    assert [item["type"] for item in items] == [
        *("message", "reasoning", "message", "reasoning"),
        *("function_call", "function_call_output"),
    ]
    assert items[2] == {
        "type": "message",
        "role": "assistant",
        "content": "I look.",
        "phase": "commentary",
    }
    assert items[3] == second
    assert items_fault(items) is None


async def test_reasoning_of_a_call_that_is_no_longer_there_is_left_out(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.script(a_response(REASONING, {**CALL, "arguments": "{}"}))
    answer = await model.complete(a_turn())
    bare = ChatMessage(role="assistant", content="Cut.", fields=answer.fields)
    await model.complete(a_turn(bare, QUESTION))
    assert endpoint.requests[1].body["input"][1] == {
        "type": "message",
        "role": "assistant",
        "content": "Cut.",
    }


@pytest.mark.parametrize(
    "items",
    [
        ({"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": None},),
        ({**REASONING, "encrypted_content": "x" * 70_000},),
        (),
    ],
)
async def test_reasoning_that_is_not_encrypted_or_too_large_is_not_kept(
    endpoint: ScriptedModel, model: OpenAIChatModel, items: tuple[dict[str, Any], ...]
) -> None:
    endpoint.script(a_response(*items, {**CALL, "arguments": "{}"}))
    answer = await model.complete(a_turn())
    assert (answer.fields, len(answer.tool_calls)) == (None, 1)


async def test_reasoning_that_nothing_follows_is_not_kept(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    cut = {"reason": "max_output_tokens"}
    endpoint.script(
        a_response(said(text("Once")), REASONING, status="incomplete", incomplete_details=cut)
    )
    answer = await model.complete(a_turn())
    assert (answer.text, answer.finish_reason, answer.fields) == ("Once", "length", None)


async def test_reasoning_that_another_key_encrypted_is_left_out_and_the_run_goes_on(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    foreign = {**REASONING, "encrypted_content": "gAAAA-of another organization"}
    endpoint.script(a_response(foreign, {**CALL, "arguments": "{}"}))
    answer = await model.complete(a_turn())

    def verify(request: Request) -> Say:
        wrong = items_fault(request.body["input"]) or ""
        code = {"message": wrong, "code": "invalid_encrypted_content"}
        return Say(status=400, body={"error": code}) if "encrypted" in wrong else Say("Noon.")

    endpoint.always(verify)
    assert (await model.complete(a_turn(*called(answer)))).text == "Noon."
    refused, asked_again = (request.body for request in endpoint.requests[1:])
    assert [item["type"] for item in asked_again["input"]] == [
        *("message", "function_call", "function_call_output")
    ]
    assert {**refused, "input": []} == {
        **asked_again,
        "input": [],
        "include": ["reasoning.encrypted_content"],
    }


async def test_a_model_without_encrypted_reasoning_is_asked_without_it_from_then_on(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    def refuse(request: Request) -> Say:
        if "include" in request.body:
            words = "Encrypted content is not supported with this model."
            return Say(status=400, body={"error": {"message": words, "param": "include"}})
        return Say("Hello.")

    endpoint.always(refuse)
    for _ in range(2):
        assert (await model.complete(a_call())).text == "Hello."
    assert ["include" in request.body for request in endpoint.requests] == [True, False, False]


async def test_an_endpoint_that_does_not_know_what_is_included_is_asked_without_it(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    words = "Invalid value: 'reasoning.encrypted_content'. Supported values are: 'file_search'."
    endpoint.script(Say(status=422, body={"detail": [{"msg": words}]}), Say("Hello."))
    parameters: dict[str, object] = {"include": ["reasoning.encrypted_content", "file_search"]}
    assert (await model.complete(a_call(parameters=parameters))).text == "Hello."
    assert endpoint.requests[1].body["include"] == ["file_search"]


async def test_reasoning_in_plain_text_goes_back_too(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    plain = {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "I look at the clock."}],
    }
    endpoint.script(a_response(plain, {**CALL, "arguments": "{}"}))
    answer = await model.complete(a_turn())
    await model.complete(a_turn(*called(answer)))
    assert endpoint.requests[1].body["input"][1] == plain


async def test_fields_that_another_api_left_are_not_read_as_items(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.script(a_response(REASONING, said(text("Noon."))))
    key = (await model.complete(a_turn())).fields
    assert key is not None
    odd = EndpointFields(endpoint=key.endpoint, message={"reasoning_content": "x"})
    await model.complete(
        a_turn(ChatMessage(role="assistant", content="Noon.", fields=odd), QUESTION)
    )
    assert items_fault(endpoint.requests[1].body["input"]) is None
