"""The ChatModel port on the Responses API: what is sent."""

from __future__ import annotations

from pydantic import TypeAdapter

from aos.adapters.model.openai_chat import OpenAIChatModel
from aos.bootstrap.azure_world import AzureAdapters
from aos.settings import Settings
from tests.contract.model.calls import KEY, a_call
from tests.contract.model.responses.turns import (
    SCHEMA,
    a_turn,
    called,
)
from tests.dialects.responses_checks import responses_fault
from tests.responses_api import write_response
from tests.scripted_model import Say, ScriptedModel


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
