"""What answers took that a run cannot use counts for the run, and bounds it."""

from __future__ import annotations

from typing import Any

import pytest

from aos.domain.model_api import ModelApi
from aos.domain.runs.run import RunStatus
from aos.testing import MemoryWorld
from tests.scripted_model import Say, ScriptedModel

AGENT = {"agent_id": "ceo", "purpose": "Lead."}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
STRICT = {"agent_id": "strict", "purpose": "Lead.", "output_schema": SCHEMA}
pytestmark = pytest.mark.parametrize("api", ["chat", "responses"])


@pytest.fixture
async def world(memory: MemoryWorld) -> MemoryWorld:
    await memory.put_agent(AGENT)
    await memory.put_agent(STRICT)
    return memory


def usage(api: ModelApi) -> dict[str, int]:
    names = ("prompt_tokens", "completion_tokens")
    return dict(
        zip(names if api == "chat" else ("input_tokens", "output_tokens"), (100, 10), strict=True)
    )


@pytest.mark.parametrize(
    ("agent", "answers", "asked"),
    [
        ("ceo", [{"text": ""}, {"text": ""}], 2),
        ("ceo", [{"text": ""}, {"text": "Hello."}], 2),
        ("ceo", [{"text": "Hel", "finish": "content_filter"}], 1),
        ("ceo", [{"text": "", "finish": "length"}], 1),
        ("strict", [{"text": "no"}, {"text": "no"}, {"text": "no"}], 3),
        ("strict", [{"text": "no"}, {"text": ""}, {"text": '{"a": 1}'}], 3),
        ("strict", [{"text": ""}, {"text": "no"}, {"text": ""}, {"text": ""}], 4),
    ],
)
async def test_every_answer_that_came_is_in_the_usage_of_the_run(
    world: MemoryWorld,
    server: ScriptedModel,
    api: ModelApi,
    agent: str,
    answers: list[dict[str, Any]],
    asked: int,
) -> None:
    server.script(*(Say(**answer, usage=usage(api)) for answer in answers))
    run = await world.ask(agent, "Hello?")
    assert len(server.requests) == asked
    assert (run.usage.input_tokens, run.usage.output_tokens) == (100 * asked, 10 * asked)


async def test_repairs_that_an_outage_ends_each_time_spend_the_runs_tokens(
    world: MemoryWorld, server: ScriptedModel, api: ModelApi
) -> None:
    await world.put_agent({**STRICT, "limits": {"max_tokens_per_run": 1000}})
    fault = Say(status=401, body={"error": "the key expired"})
    asked = 0

    def answer(_: object) -> Say:
        nonlocal asked
        asked += 1
        return Say("no", usage=usage(api)) if asked % 2 else fault

    server.always(answer)
    run = await world.ask("strict", "Hello?")
    assert run.status is RunStatus.IN_PROGRESS
    assert run.usage.total_tokens == 110
    await world.advance(6 * 3600)
    run = await world.run(run.run_id)
    assert run.error is not None
    assert (run.status, run.error.code) == (RunStatus.FAILED, "max_tokens")
    assert run.usage.total_tokens == 1100
