"""Requests that schemathesis makes of the models of A2A and AG-UI, good ones and bad ones: each is
answered or refused in the protocol's form, and none is a fault of AOS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from pydantic.json_schema import models_json_schema
from schemathesis import Case, GenerationMode
from schemathesis.config import (
    GenerationConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)

from aos.entrypoints.http.a2a.requests import ListTasks, PushNotification, SendMessage
from aos.entrypoints.http.ag_ui.inputs import AgUiInput
from aos.entrypoints.http.streams import StreamedResponse
from aos.testing import MemoryWorld
from tests.unit.a2a.kit import VERSION, a_world, let, make_request
from tests.unit.ag_ui.client import check_events

EXAMPLES = 25
MODELS = (SendMessage, ListTasks, PushNotification, AgUiInput)
BASE = "http://localhost"
ANSWER = {"default": {"description": "an answer"}}
NOBODY = "00000000-0000-0000-0000-000000000000"
Serve = Callable[[MemoryWorld, requests.PreparedRequest], Awaitable[None]]


def posts(model: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model}"}
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"post": {"operationId": model, "requestBody": body, "responses": ANSWER}}


def build_document() -> dict[str, Any]:
    """The doors as an OpenAPI document, of the models that read their requests."""
    _, schemas = models_json_schema(
        [(model, "validation") for model in MODELS], ref_template="#/components/schemas/{model}"
    )
    roles = {"Message": ["ROLE_USER"], "AgUiMessage": ["user", "assistant", "tool", "system"]}
    for model, known in roles.items():  # texts, which are read as what they say
        schemas["$defs"][model]["properties"]["role"] = {"enum": known}
    call = {"type": "object", "properties": {"id": {"enum": ["c", 5]}}}
    of_message = schemas["$defs"]["AgUiMessage"]["properties"]
    of_message["toolCalls"] = {
        "anyOf": [{"type": "array", "items": call}, {"type": "string"}, {"type": "integer"}]
    }
    of_message["toolCallId"] = {"enum": ["c", "d"]}
    query = [
        {"name": name, "in": "query", "schema": schema}
        for name, schema in schemas["$defs"]["ListTasks"]["properties"].items()
        if name != "tenant"
    ]
    return {
        "openapi": "3.1.0",
        "info": {"title": "doors", "version": "1"},
        "paths": {
            "/message:send": posts("SendMessage"),
            f"/tasks/{NOBODY}/pushNotificationConfigs": posts("PushNotification"),
            "/tasks": {
                "get": {"operationId": "ListTasks", "parameters": query, "responses": ANSWER}
            },
            "/api/ag-ui/ceo": posts("AgUiInput"),
        },
        "components": {"schemas": schemas["$defs"]},
    }


def list_operations() -> dict[str, Any]:
    generation = GenerationConfig(deterministic=True, database="none")
    project = ProjectConfig(base_url=BASE, generation=generation)
    config = SchemathesisConfig(projects=ProjectsConfig(default=project))
    schema = schemathesis.openapi.from_dict(build_document(), config=config)
    found = [result.ok() for result in schema.get_all_operations()]
    return {operation.definition.raw["operationId"]: operation for operation in found}


OPERATIONS = list_operations()


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as found:
        yield found


async def serve_a2a(world: MemoryWorld, sent: requests.PreparedRequest) -> None:
    """Both bindings of A2A read the same parameters."""
    path, _, query = sent.path_url.removeprefix("/").partition("?")
    headers = {**VERSION, "content-type": sent.headers.get("content-type", "application/json")}
    body = sent.body.encode() if isinstance(sent.body, str) else sent.body
    request = make_request(
        str(sent.method), body, headers, {"agent_id": "ceo", "path": path}, query
    )
    answer = await let(world, world.main.a2a.rest(request))
    read = json.loads(answer.get_body())
    if "error" in read:
        assert read["error"]["code"] == answer.status_code
        assert read["error"]["message"]
        assert read["error"]["details"][0]["reason"] != "INTERNAL_ERROR", read
    assert answer.status_code < 500, read


async def serve_ag_ui(world: MemoryWorld, sent: requests.PreparedRequest) -> None:
    headers = {"content-type": sent.headers.get("content-type", "application/json")}
    body = sent.body.encode() if isinstance(sent.body, str) else sent.body
    request = make_request("POST", body, headers, {"agent_id": "ceo"})
    answer = await let(world, world.main.ag_ui.run(request))
    if not isinstance(answer, StreamedResponse):
        error = json.loads(answer.get_body())["error"]
        assert (answer.status_code < 500, error["type"]) == (True, "caller"), error
        return
    reading = asyncio.ensure_future(_join(answer))
    blocks = (await let(world, reading)).strip().split("\n\n")
    check_events([json.loads(it.removeprefix("data: ")) for it in blocks if it[:1] != ":"])


async def _join(answer: StreamedResponse) -> str:
    return b"".join([piece async for piece in answer.pieces]).decode()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_generated_request_is_answered_or_refused(
    runner: asyncio.Runner, name: str, mode: GenerationMode
) -> None:
    serve: Serve = serve_ag_ui if name == "AgUiInput" else serve_a2a
    world = runner.run(a_world(*["Hello."] * (EXAMPLES * 4)))

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(OPERATIONS[name].as_strategy(generation_mode=mode))
    def run(case: Case) -> None:
        sent = requests.Request(**case.as_transport_kwargs()).prepare()
        runner.run(asyncio.wait_for(serve(world, sent), 30))

    run()
    assert [line for line in world.telemetry.lines if line["event"] == "http_broken"] == []
