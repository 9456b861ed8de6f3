"""Odd answers of models that people met, over HTTP: what the run says, and what the next one is."""

from __future__ import annotations

import json
from typing import Any

import azure.functions as func
import pytest

from aos.domain.codec import encode
from aos.domain.model_api import ModelApi
from aos.domain.runs.run import RunStatus
from aos.testing import MemoryWorld
from tests.scripted_model import Say, ScriptedModel

AGENT = {"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": ["clock"]}
CLOCK = {"server_id": "clock", "command": "npx", "args": ["-y", "@modelcontextprotocol/clock"]}
CALL = Say(calls=[("clock__now", {})])
NOTHING = Say("")
OWN: dict[ModelApi, dict[str, Any]] = {
    "chat": {
        "choices": [{"message": {"content": "Hi.", "reasoning_content": "a private thought"}}]
    },
    "responses": {
        "output": [
            {"type": "reasoning", "id": "rs_1", "encrypted_content": "a private thought"},
            {"type": "message", "content": [{"type": "output_text", "text": "Hi."}]},
        ]
    },
}
pytestmark = pytest.mark.parametrize("api", ["chat", "responses"])


@pytest.fixture
async def world(memory: MemoryWorld) -> MemoryWorld:
    await memory.put_mcp_server(CLOCK, {"now": lambda _: "noon, says the forbidden word"})
    await memory.put_agent(AGENT)
    return memory


def texts(server: ScriptedModel, place: int) -> str:
    body = server.requests[place].body
    return json.dumps(body.get("input") or body["messages"])


async def model_in_health(world: MemoryWorld) -> str:
    """What realm's health says of the model."""
    request = func.HttpRequest(method="GET", url="http://127.0.0.1/api/health", body=b"")
    answer = await world.realm.about.health(request)
    return str(json.loads(answer.get_body())["model"])


async def test_an_answer_that_the_token_limit_cut_says_so(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    server.script(Say("Once upon", finish="length"), Say("Whole."))
    cut, whole = await world.ask("ceo", "Tell."), await world.ask("ceo", "Tell.")
    assert (cut.status, cut.output, cut.finish_reason) == (
        RunStatus.COMPLETED,
        "Once upon",
        "length",
    )
    assert encode(cut)["finish_reason"] == "length"
    assert "finish_reason" not in encode(whole)


@pytest.mark.parametrize(
    "refusal",
    [
        Say(status=400, body={"error": {"code": "content_filter", "message": "filtered"}}),
        Say(finish="content_filter"),
        Say(status=400, body={"error": {"innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    ],
)
async def test_a_result_that_trips_the_content_filter_is_not_shown_again(
    world: MemoryWorld, server: ScriptedModel, refusal: Say
) -> None:
    await world.ask("ceo", "Good morning.", conversation_id="c")
    server.script(CALL, refusal)
    run = await world.ask("ceo", "What time?", conversation_id="c")
    assert run.error is not None
    assert (run.status, run.error.code) == (RunStatus.FAILED, "content_filtered")
    assert "forbidden" in texts(server, 2)
    for _ in range(2):
        assert (await world.ask("ceo", "And now?", conversation_id="c")).output == "Hello."
    for place in (3, 4):
        assert "forbidden" not in texts(server, place)
        assert "Good morning." in texts(server, place)


async def test_a_model_that_says_nothing_after_a_tool_is_asked_once_more(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    server.script(CALL, NOTHING, Say("Noon."))
    run = await world.ask("ceo", "What time?")
    assert (run.output, len(server.requests)) == ("Noon.", 3)


async def test_a_model_that_says_nothing_twice_ends_the_run_with_the_tools_effect_said(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    server.script(CALL, NOTHING, NOTHING)
    run = await world.ask("ceo", "What time?", conversation_id="c")
    assert run.error is not None
    assert run.error.code == "model_output_invalid"
    assert "had called clock__now: what these did stays done" in run.error.message
    assert run.error.details["called_tools"] == ["clock__now"]
    assert (await world.ask("ceo", "And now?", conversation_id="c")).output == "Hello."


@pytest.mark.parametrize(
    ("refusal", "code", "says"),
    [
        (Say(status=404, body={"detail": "Not Found"}), "model_misconfigured", "ends with /v1"),
        (Say(status=401, body={"error": "bad key"}), "model_misconfigured", "AOS_MODEL_API_KEY"),
        (Say(status=429, body={"error": {"code": "insufficient_quota"}}), "model_quota", "pay"),
    ],
)
async def test_an_operators_mistake_costs_no_run_and_is_on_it_at_once(
    world: MemoryWorld, server: ScriptedModel, refusal: Say, code: str, says: str
) -> None:
    server.always(refusal)
    run = await world.ask("ceo", "Hello?")
    assert (run.status, run.error) == (RunStatus.IN_PROGRESS, None)
    assert run.waiting is not None
    assert run.waiting.error is not None
    assert (run.waiting.kind, run.waiting.error.code, run.waiting.error.type) == (
        *("retry", code, "operator"),
    )
    assert says in run.waiting.reason
    assert [line["reason"] for line in world.telemetry.lines if line["event"] == "model_away"] == [
        run.waiting.reason
    ]
    assert await model_in_health(world) == code
    server.always(Say("Hello."))
    await world.advance(120)
    run = await world.run(run.run_id)
    assert (run.output, run.waiting) == ("Hello.", None)
    assert await model_in_health(world) == "configured"


async def test_health_says_that_a_model_has_been_away_for_a_minute(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    server.always(Say(status=503))
    run = await world.ask("ceo", "Hello?")
    assert run.waiting is not None
    assert (run.waiting.kind, run.waiting.error) == ("retry", None)
    await world.advance(30)
    assert await model_in_health(world) == "model_unavailable"
    server.always(Say("Hello."))
    await world.advance(120)
    assert (await world.run(run.run_id)).output == "Hello."
    assert await model_in_health(world) == "configured"


async def test_a_mistake_that_nobody_mends_in_a_day_ends_the_run_under_its_own_code(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    server.always(Say(status=403, body={"error": "no access"}))
    run = await world.ask("ceo", "Hello?")
    await world.advance(25 * 3600)
    run = await world.run(run.run_id)
    assert run.error is not None
    assert (run.status, run.error.code) == (RunStatus.FAILED, "model_misconfigured")
    assert "no access" in run.error.message


async def test_a_run_says_which_tools_it_had_to_do_without(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    world.servers.failing["broken"] = "boom at /home/me/secret"
    await world.put_mcp_server({**CLOCK, "server_id": "broken"}, {})
    await world.put_agent({**AGENT, "mcp_tools": ["clock", "broken"]})
    run = await world.ask("ceo", "Hello?")
    assert run.unavailable_servers == ("broken",)
    assert "secret" not in texts(server, 0)


async def test_calls_when_no_tool_is_offered_are_answered_as_calls_of_any_unknown_tool(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    server.script(Say(calls=[("made_up", {"a": 1})]), Say("So I answer myself."))
    run = await world.ask("ceo", "Hello?")
    assert run.output == "So I answer myself."
    told: dict[str, Any] = server.requests[1].messages[-1]
    assert (told["role"], "there is no tool 'made_up'" in told["content"]) == ("tool", True)


async def test_what_an_endpoint_sends_of_its_own_is_shown_to_no_reader(
    world: MemoryWorld, server: ScriptedModel, api: ModelApi
) -> None:
    server.script(Say(body=OWN[api]))
    await world.ask("ceo", "Hello?", conversation_id="c")
    await world.ask("ceo", "Again?", conversation_id="c")
    assert "a private thought" in texts(server, 1)
