"""The ChatModel port on an endpoint that speaks the Responses API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from aos.adapters.model.endpoint import ModelEndpoint
from aos.adapters.model.openai_chat import OpenAIChatModel
from aos.bootstrap.azure_world import AzureAdapters
from aos.domain.runs.run import Usage
from aos.domain.tools.tool import AskedCall, EndpointFields, MessageCall, OfferedTool
from aos.errors import (
    AosError,
    EmptyAnswer,
    OperatorFault,
    RunFailed,
    TransientError,
    UnreadableAnswer,
)
from aos.ports.model import ChatMessage, ModelAnswer, ModelCall
from aos.settings import Settings
from tests.contract.model.calls import KEY, a_call, fault
from tests.dialects.responses_checks import items_fault, responses_fault
from tests.responses_api import write_response
from tests.scripted_model import Request, Say, ScriptedModel

SCHEMA = {"type": "object", "properties": {"zone": {"type": "string", "default": "UTC"}}}
CLOCK = OfferedTool(name="time__now", description="The time.", parameters=SCHEMA)
QUESTION = ChatMessage(role="user", content="What time is it?")
NOON = ChatMessage(role="tool", content="noon", tool_call_id="c1")
REASONING = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAAA-rs_1"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "x", "name": "time__now"}


@pytest.fixture
async def model(endpoint: ScriptedModel) -> AsyncIterator[OpenAIChatModel]:
    where = ModelEndpoint(base_url=endpoint.endpoint, model="base", api_key=KEY, api="responses")
    adapter = OpenAIChatModel(where)
    yield adapter
    await adapter.close()


def a_turn(*messages: ChatMessage, **changes: Any) -> ModelCall:
    call = ModelCall(
        model=None,
        messages=(QUESTION, *messages),
        parameters={},
        timeout_seconds=10,
        tools=(CLOCK,),
    )
    return replace(call, **changes)


def a_response(*items: dict[str, Any], **fields: Any) -> Say:
    return Say(body={"object": "response", "status": "completed", "output": items, **fields})


def said(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": parts, **fields}


def text(words: str) -> dict[str, Any]:
    return {"type": "output_text", "text": words, "annotations": []}


def called(answer: ModelAnswer) -> tuple[ChatMessage, ...]:
    """The history after an answer with one call."""
    call = MessageCall(tool_call_id="c1", name="time__now", arguments="{}")
    asking = ChatMessage(
        role="assistant", content=answer.text, tool_calls=(call,), fields=answer.fields
    )
    return (asking, NOON)


async def test_the_request_stores_nothing_and_asks_for_encrypted_reasoning(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    await model.complete(a_call(parameters={"temperature": 0.2, "store": True}))
    [request] = endpoint.requests
    assert request.path == "/v1/responses"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "model": "base",
        "instructions": "You lead.",
        "input": [{"type": "message", "role": "user", "content": "Grüß dich \U0001f600"}],
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "temperature": 0.2,
    }


async def test_the_setting_chooses_the_api(endpoint: ScriptedModel) -> None:
    for api in ("", "chat", "responses"):
        settings = {"AOS_MODEL_ENDPOINT": endpoint.endpoint, "AOS_MODEL_API": api}
        laptop = {"AZURE_FUNCTIONS_ENVIRONMENT": "Development", "AOS_MODEL": "base"}
        adapters = AzureAdapters(Settings.read({**laptop, **settings}), app="realm")
        assert isinstance(adapters.world.model, OpenAIChatModel)
        await adapters.world.model.complete(a_call())
        await adapters.world.model.close()
    assert [request.path.removeprefix("/v1") for request in endpoint.requests] == [
        *("/chat/completions", "/chat/completions", "/responses")
    ]


async def test_parameters_of_chat_completions_have_the_names_that_they_have_here(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    schema = {"name": "answer", "schema": {"type": "object", "properties": {}}, "strict": True}
    given: dict[str, object] = {
        "max_tokens": 100,
        "reasoning_effort": "low",
        "verbosity": "high",
        "response_format": {"type": "json_schema", "json_schema": schema},
        "service_tier": "flex",
        "include": [],
    }
    await model.complete(a_call(parameters=given))
    body = endpoint.requests[0].body
    assert responses_fault(body) is None
    assert {name: body[name] for name in body if name not in ("input", "instructions")} == {
        "model": "base",
        "store": False,
        "include": [],
        "max_output_tokens": 100,
        "reasoning": {"effort": "low"},
        "text": {"verbosity": "high", "format": {"type": "json_schema", **schema}},
        "service_tier": "flex",
    }


async def test_a_parameter_under_both_names_keeps_the_value_of_this_apis_name(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    given: dict[str, object] = {
        "max_completion_tokens": 1,
        "max_output_tokens": 2,
        "reasoning_effort": "low",
        "reasoning": {"effort": "high", "summary": "auto"},
        "response_format": {"type": "json_object"},
    }
    await model.complete(a_call(parameters=given))
    body = endpoint.requests[0].body
    assert body["max_output_tokens"] == 2
    assert body["reasoning"] == {"effort": "high", "summary": "auto"}
    assert body["text"] == {"format": {"type": "json_object"}}
    assert "max_completion_tokens" not in body


async def test_a_schema_of_the_output_is_the_format_of_the_text(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    await model.complete(a_turn(response_schema=SCHEMA, parameters={"verbosity": "low"}))
    shape = {"type": "json_schema", "name": "output", "schema": SCHEMA, "strict": False}
    assert endpoint.requests[0].body["text"] == {"verbosity": "low", "format": shape}


async def test_an_endpoint_that_refuses_the_schema_is_asked_without_it(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    refusal = {"error": {"message": "Unsupported parameter: 'text.format'."}}
    endpoint.script(Say(status=400, body=refusal), Say("{}"))
    assert (await model.complete(a_turn(response_schema=SCHEMA))).text == "{}"
    assert "text" not in endpoint.requests[1].body


async def test_tools_are_flat_and_their_schemas_are_kept(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    await model.complete(a_turn())
    assert endpoint.requests[0].body["tools"] == [
        {
            "type": "function",
            "name": "time__now",
            "description": "The time.",
            "parameters": SCHEMA,
            "strict": False,
        }
    ]


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


async def test_the_sdks_own_types_allow_the_request_and_the_answer(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    from openai.types.responses import Response
    from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

    endpoint.script(Say("I look.", calls=[("time__now", {})]))
    answer = await model.complete(a_turn(response_schema=SCHEMA))
    await model.complete(a_turn(*called(answer), parameters={"max_tokens": 9}))
    allowed = TypeAdapter(ResponseCreateParamsNonStreaming)
    for request in endpoint.requests:
        allowed.validate_python(request.body)
    unused = {"created_at": 0, "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    body = write_response(endpoint.requests[0].body, text="I look.", calls=[("time__now", {})])
    Response.model_validate({**body, **unused, "usage": None})


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


async def test_an_answer_has_text_tokens_and_the_name_that_answered(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    usage = {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3},
    }
    endpoint.script(
        a_response(
            {"type": "web_search_call", "id": "ws_1"},
            said(text("Grü"), text("ße")),
            model="base-2026-11",
            usage=usage,
        )
    )
    assert await model.complete(a_call()) == ModelAnswer(
        text="Grüße",
        usage=Usage(input_tokens=7, output_tokens=5, cached_tokens=4, reasoning_tokens=3),
        model="base-2026-11",
    )


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([said({"type": "refusal", "refusal": "I would rather not."})], "I would rather not."),
        ([said(text("One.")), said(text(" ")), said(text("Two."))], "One.\n\nTwo."),
        ([said(text("lone \ud800"))], "lone ?"),
        ([{"type": "message", "content": "as a text"}, "rubbish", {}], "as a text"),
    ],
)
async def test_texts_come_in_several_shapes(
    endpoint: ScriptedModel, model: OpenAIChatModel, items: list[Any], words: str
) -> None:
    endpoint.script(a_response(*items))
    assert await model.complete(a_call()) == ModelAnswer(text=words, usage=Usage(), model="base")


async def test_arguments_come_as_a_text_or_as_an_object(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.script(
        a_response({**CALL, "arguments": "{broken"}, {**CALL, "arguments": {"zone": "CET"}})
    )
    assert (await model.complete(a_turn())).tool_calls == (
        AskedCall(name="time__now", arguments="{broken"),
        AskedCall(name="time__now", arguments='{"zone": "CET"}'),
    )


@pytest.mark.parametrize(
    ("answer", "kind", "code", "says"),
    [
        (
            a_response(
                status="failed", error={"code": "rate_limit_exceeded", "message": "slow down"}
            ),
            TransientError,
            "unavailable",
            "slow down",
        ),
        (
            a_response(status="failed", error={"code": "server_error", "message": "oops"}),
            TransientError,
            "unavailable",
            "oops",
        ),
        (
            a_response(status="failed", error={"code": "insufficient_quota", "message": "pay"}),
            OperatorFault,
            "model_quota",
            "pay",
        ),
        (
            a_response(status="failed", error={"code": "invalid_prompt", "message": "flagged"}),
            RunFailed,
            "content_filtered",
            "flagged",
        ),
        (
            a_response(status="failed", error={"code": "invalid_image", "message": "no picture"}),
            RunFailed,
            "model_rejected",
            "no picture",
        ),
        (a_response(status="failed", error=None), TransientError, "unavailable", "502"),
        (Say(finish="content_filter"), RunFailed, "content_filtered", "filter"),
        (Say(finish="length"), RunFailed, "model_output_invalid", "max_tokens"),
        (a_response(REASONING), EmptyAnswer, "model_output_invalid", "has no text"),
        (Say(body={"choices": []}), UnreadableAnswer, "unavailable", "without output"),
        (Say(body=b"["), UnreadableAnswer, "unavailable", "broken JSON"),
        (
            Say(status=404, body={"error": {"message": "Invalid URL (POST /v1/responses)"}}),
            OperatorFault,
            "model_misconfigured",
            "AOS_MODEL_API",
        ),
    ],
)
async def test_faults_are_told_apart_and_keep_the_endpoints_words(
    endpoint: ScriptedModel,
    model: OpenAIChatModel,
    answer: Say,
    kind: type[AosError],
    code: str,
    says: str,
) -> None:
    endpoint.script(answer)
    error = await fault(model)
    assert (type(error), error.code) == (kind, code)
    assert says in str(error)
    assert len(endpoint.requests) == 1


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


async def test_other_refusals_are_not_asked_again(
    endpoint: ScriptedModel, model: OpenAIChatModel
) -> None:
    endpoint.always(Say(status=400, body={"error": {"message": "Unknown parameter: 'top_k'."}}))
    error = await fault(model)
    assert (error.code, len(endpoint.requests)) == ("model_rejected", 1)


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
