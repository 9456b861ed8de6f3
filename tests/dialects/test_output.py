"""Output that must fit a JSON Schema, and models that stand in for one that is away, over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aos.domain.runs.run import RunStatus
from aos.testing import MemoryWorld
from tests.scripted_model import Request, Say, ScriptedModel

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer", "minimum": 0}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
AGENT = {"agent_id": "ceo", "purpose": "Lead.", "output_schema": SCHEMA}
ROME = {"city": "Rome", "people": 2_800_000}


@pytest.fixture(autouse=True)
def rome(server: ScriptedModel) -> None:
    server.always(Say(json.dumps(ROME)))


@pytest.fixture
async def world(memory: MemoryWorld) -> MemoryWorld:
    assert (await memory.put_agent(AGENT))["state"] == "active"
    return memory


async def test_the_schema_goes_to_the_endpoint_and_the_object_into_the_run(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    run = await world.ask("ceo", "Which city?")
    assert run.output_parts == ({"type": "data", "data": ROME},)
    assert json.loads(run.output) == ROME
    [request] = server.requests
    assert request.body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "output", "schema": SCHEMA},
    }
    assert '"people"' in request.messages[0]["content"]


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ('{"city": "Rome"}', '"people" is a required property'),
        ('{"city": "Rome", "people": "many"}', "people: "),
        ("It is Rome.", "is not JSON"),
        ("[1]", "is not of type"),
        ('{"city": "Rome", "people": NaN}', "people: "),
    ],
)
async def test_an_output_that_does_not_fit_is_repaired(
    world: MemoryWorld, server: ScriptedModel, first: str, says: str
) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    server.script(Say(first, usage=usage), Say(f"```json\n{json.dumps(ROME)}\n```", usage=usage))
    run = await world.ask("ceo", "Which city?", conversation_id="c")
    assert run.output_parts == ({"type": "data", "data": ROME},)
    assert (run.usage.input_tokens, run.usage.output_tokens) == (20, 10)
    assert says in server.requests[1].messages[-1]["content"]
    assert [message.role for message in await world.history("c")] == ["user", "assistant"]


async def test_an_output_that_is_never_repaired_fails_the_run_and_shows_it(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    server.always(Say("It is Rome."))
    run = await world.ask("ceo", "Which city?")
    assert run.error is not None
    assert (run.status, run.error.code) == (RunStatus.FAILED, "model_output_invalid")
    assert run.error.details["output"] == "It is Rome."
    assert len(server.requests) == 3


async def test_an_endpoint_that_takes_no_schema_is_asked_without_from_then_on(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    def strict(request: Request) -> Say:
        if "response_format" in request.body:
            return Say(status=400, body={"error": "response_format is not supported"})
        return Say(json.dumps(ROME))

    server.always(strict)
    for _ in range(2):
        assert (await world.ask("ceo", "Which city?")).output_parts is not None
    assert ["response_format" in request.body for request in server.requests] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "string"}, 'its "type" is not "object"'),
        ({"type": "object", "properties": {"a": {"type": "objct"}}}, "objct"),
        ({"type": "object", "properties": {"a": {"$ref": "http://10.0.0.1/x"}}}, "10.0.0.1"),
        ({"type": "object", "description": "x" * 40_000}, "the limit is 32,768"),
        ({"type": "object", "properties": {"a": {"pattern": "(?=x)"}}}, "regex"),
    ],
)
async def test_a_schema_that_cannot_be_used_is_refused_with_the_card(
    schema: dict[str, Any], says: str
) -> None:
    status = await MemoryWorld().put_agent({**AGENT, "output_schema": schema})
    assert status["state"] == "rejected"
    [error] = status["errors"]
    assert error["path"] == "output_schema"
    assert says in error["message"]


@pytest.mark.parametrize(
    "away",
    [
        Say(status=503, body={"error": "busy"}),
        Say(status=429, body={"error": {"code": "insufficient_quota"}}),
        Say(status=404, body={"error": {"code": "model_not_found"}}),
    ],
)
async def test_the_next_model_answers_while_the_first_is_away_and_the_run_says_which(
    world: MemoryWorld, server: ScriptedModel, away: Say
) -> None:
    await world.put_agent({"agent_id": "two", "purpose": "x", "model": ["m", "n"]})
    server.always(lambda request: away if request.body["model"] == "m" else Say("Hello."))
    run = await world.ask("two", "hi")
    assert (run.output, run.model) == ("Hello.", "n")
    server.always(Say("Hello again."))
    assert (await world.ask("two", "hi")).model == "m"


async def test_a_request_that_the_first_model_rejects_is_not_put_to_the_next(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    await world.put_agent({"agent_id": "two", "purpose": "x", "model": ["m", "n"]})
    server.always(Say(status=400, body={"error": "too long"}))
    run = await world.ask("two", "hi")
    assert run.error is not None
    assert run.error.code == "model_rejected"
    assert {request.body["model"] for request in server.requests} == {"m"}


async def test_parameters_go_out_as_they_are_written(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    newest = {"max_completion_tokens": 7, "reasoning_effort": "minimal", "verbosity": "low"}
    await world.put_agent({"agent_id": "new", "purpose": "x", "parameters": newest})
    await world.ask("new", "hi")
    assert {name: server.requests[0].body[name] for name in newest} == newest


def nested(levels: int, target: str = "#/$defs/a{}") -> dict[str, Any]:
    """A schema whose parts each apply the next one twice."""
    parts: dict[str, Any] = {
        f"a{n}": {
            "$anchor": f"p{n}",
            "allOf": [{"$ref": target.format(n + 1)}, {"$ref": target.format(n + 1)}],
        }
        for n in range(levels)
    }
    parts[f"a{levels}"] = {"$anchor": f"p{levels}", "type": "object"}
    return {"type": "object", "allOf": [{"$ref": target.format(0)}], "$defs": parts}


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (nested(40), "applied more than 20,000 times"),
        (nested(40, "#p{}"), "applied more than 20,000 times"),
        (nested(200), "references"),
    ],
)
async def test_a_schema_that_takes_hours_to_check_is_rejected_with_its_card(
    memory: MemoryWorld, schema: dict[str, Any], says: str
) -> None:
    status = await memory.put_agent({**AGENT, "output_schema": schema})
    assert status["state"] == "rejected"
    assert says in json.dumps(status)


@pytest.mark.parametrize(
    "schema",
    [
        nested(8),
        {
            "type": "object",
            "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "value": {"const": 1}},
        },
        {
            "type": "object",
            "properties": {f"p{n}": {"$ref": "#/$defs/address"} for n in range(200)},
            "$defs": {"address": {"properties": {f"line{n}": {} for n in range(20)}}},
        },
    ],
)
async def test_a_schema_that_uses_references_as_people_do_is_taken(
    memory: MemoryWorld, schema: dict[str, Any]
) -> None:
    assert (await memory.put_agent({**AGENT, "output_schema": schema}))["state"] == "active"
