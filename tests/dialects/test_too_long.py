"""A history that is too long for the model is shown in part; the conversation goes on."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from aos.domain.runs.run import RunStatus
from aos.testing import MemoryWorld
from tests.dialects.dialects import DIALECTS, speaking
from tests.scripted_model import Request, Say, ScriptedModel
from tests.unit.entrypoints.laptop_in_memory import call

AGENT = {"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": ["logs"]}
LOGS = {"server_id": "logs", "command": "npx", "args": ["-y", "@modelcontextprotocol/logs"]}
CEO = {"agent_id": "ceo"}
ROOM = 40_000
"""Characters of messages that the model takes."""
[STRICT] = [dialect for dialect in DIALECTS if dialect.name == "mistral-order"]
REFUSALS: list[tuple[int, Any]] = [
    (400, {"error": {"message": "x", "code": "context_length_exceeded"}}),
    (400, {"error": {"message": "prompt is too long: 207791 tokens > 200000 maximum"}}),
    (
        400,
        [{"error": {"message": "The input token count (9) exceeds the maximum number of tokens"}}],
    ),
    (400, {"object": "error", "message": "This model's maximum context length is 8192 tokens."}),
    (400, {"error": "the request exceeds the available context size. try increasing it"}),
    (413, {"error": {"message": "Request too large for model", "code": "rate_limit_exceeded"}}),
]


@pytest.fixture(params=REFUSALS, ids=lambda refusal: str(refusal[1])[:40])
def server(request: pytest.FixtureRequest, endpoint: ScriptedModel) -> ScriptedModel:
    status, body = request.param
    endpoint.forget()
    refusal = Say(status=status, body=json.dumps(body).encode())

    def answer(asked: Request) -> Say:
        if len(json.dumps(asked.messages)) > ROOM:
            return refusal
        last = asked.messages[-1]
        if last["role"] == "user" and last["content"] == "Read the logs.":
            return Say(calls=[("logs__read", {}), ("logs__read", {})])
        return Say("Hello.")

    endpoint.always(speaking(STRICT, answer))
    return endpoint


@pytest.fixture
async def world(memory: MemoryWorld) -> MemoryWorld:
    await memory.put_mcp_server(LOGS, {"read": lambda _: "a line of a log\n" * 4_000})
    await memory.put_agent(AGENT)
    return memory


async def test_results_that_are_too_long_together_are_cut_and_the_run_goes_on(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    run = await world.ask("ceo", "Read the logs.", conversation_id="c")
    assert (run.status, run.output) == (RunStatus.COMPLETED, "Hello.")
    shown = server.requests[-1].messages
    assert shown[1]["content"] == "Read the logs."
    assert "[cut: the whole result has 64,000 bytes]" in shown[-1]["content"]
    for _ in range(2):
        later = await world.ask("ceo", "And now?", conversation_id="c")
        assert (later.status, later.output) == (RunStatus.COMPLETED, "Hello.")
        assert server.requests[-1].messages[-1]["content"] == "And now?"
    stored = [message.content for message in await world.history("c") if message.role == "tool"]
    assert [len(content) for content in stored] == [64_000, 64_000]


async def test_a_long_conversation_loses_its_oldest_messages(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    for place in range(8):
        run = await world.ask("ceo", f"{place} " + "long " * 2_000, conversation_id="c")
        assert (run.status, run.output) == (RunStatus.COMPLETED, "Hello.")
    contents = [message["content"] for message in server.requests[-1].messages]
    assert contents[-1].startswith("7 ")
    assert contents[-3].startswith("6 ")


async def test_a_question_that_is_too_long_by_itself_fails_its_run_alone(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    await world.ask("ceo", "Hello?", conversation_id="c")
    run = await world.ask("ceo", "long " * 10_000, conversation_id="c")
    assert run.error is not None
    assert (run.error.code, run.error.details["too_long"]) == ("model_rejected", True)
    assert len(server.requests) <= 4
    assert (await world.ask("ceo", "And now?", conversation_id="c")).output == "Hello."


async def test_a_text_file_of_an_earlier_message_is_left_out_when_it_is_too_long(
    world: MemoryWorld, server: ScriptedModel
) -> None:
    data = base64.b64encode(b"line\n" * 5_000).decode()
    file = {"type": "file", "name": "a.txt", "media_type": "text/plain", "data": data}
    body = {"message": [{"type": "text", "text": "Read."}, file], "conversation_id": "c"}
    for _ in range(3):
        reply = await call(
            world.main.runs.start, "POST", body=body | {"wait_seconds": 0}, parts=CEO
        )
        await world.settle()
        run = await world.run(reply.body["run_id"])
        assert (run.status, run.output) == (RunStatus.COMPLETED, "Hello.")
    assert "a.txt" in server.requests[-1].messages[-1]["content"]
