"""Turns of every kind on every dialect: a conversation that was good stays usable."""

from __future__ import annotations

import pytest

from aos.domain.model_api import ModelApi
from aos.domain.runs.run import Run, RunStatus
from aos.testing import MemoryWorld
from tests.dialects.dialects import DIALECTS, Dialect, speaking
from tests.scripted_model import Request, Say, ScriptedModel

AGENT = {"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": ["clock"]}
ASKING = {
    **AGENT,
    "agent_id": "careful",
    "mcp_tools": [{"server": "clock", "approval": "always"}],
}
SHORT = {**AGENT, "agent_id": "short", "memory": {"window_messages": 3}}
CLOCK = {"server_id": "clock", "command": "npx", "args": ["-y", "@modelcontextprotocol/clock"]}


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.name)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    chosen: Dialect = request.param
    return chosen


@pytest.fixture
def api(dialect: Dialect) -> ModelApi:
    return dialect.api


@pytest.fixture
async def world(memory: MemoryWorld, server: ScriptedModel, dialect: Dialect) -> MemoryWorld:
    server.always(speaking(dialect, answer))
    await memory.put_mcp_server(CLOCK, {"now": lambda _: "noon", "blank": lambda _: " \n"})
    for card in (AGENT, ASKING, SHORT):
        await memory.put_agent(card)
    return memory


def answer(request: Request) -> Say:
    """Calls the tool that the question names, once; then answers."""
    last = request.messages[-1]
    if last["role"] == "tool":
        return Say(f"It says {last['content']}")
    for tool in ("now", "blank"):
        if tool in last["content"].split():
            return Say(calls=[(f"clock__{tool}", {}), (f"clock__{tool}", {})])
    return Say("Hello.")


def outcome(run: Run) -> tuple[str, str]:
    return run.status.value, run.output if run.error is None else run.error.message


async def test_a_plain_turn(world: MemoryWorld) -> None:
    assert outcome(await world.ask("ceo", "hi")) == ("completed", "Hello.")


async def test_turns_with_tools_and_a_second_run(world: MemoryWorld) -> None:
    first = await world.ask("ceo", "now please", conversation_id="c")
    assert outcome(first) == ("completed", "It says noon")
    assert outcome(await world.ask("ceo", "hi", conversation_id="c")) == ("completed", "Hello.")
    again = await world.ask("ceo", "now please", conversation_id="c")
    assert outcome(again) == ("completed", "It says noon")


async def test_a_blank_result(world: MemoryWorld) -> None:
    run = await world.ask("ceo", "blank please", conversation_id="c")
    assert outcome(run) == ("completed", "It says (the tool returned no text)")
    assert outcome(await world.ask("ceo", "hi", conversation_id="c")) == ("completed", "Hello.")


async def test_a_run_that_was_cancelled_in_a_tool_call(world: MemoryWorld) -> None:
    waiting = await world.ask("careful", "now please", conversation_id="c")
    assert waiting.status is RunStatus.WAITING_APPROVAL
    assert (await world.cancel(waiting.run_id)).status is RunStatus.CANCELLED
    for _ in range(2):
        run = await world.ask("careful", "hi", conversation_id="c")
        assert outcome(run) == ("completed", "Hello.")


async def test_a_window_that_is_cut(world: MemoryWorld, server: ScriptedModel) -> None:
    for _ in range(4):
        run = await world.ask("short", "now please", conversation_id="c")
        assert outcome(run) == ("completed", "It says noon")
        run = await world.ask("short", "hi", conversation_id="c")
        assert outcome(run) == ("completed", "Hello.")
    for request in server.requests:
        assert request.messages[1]["role"] == "user"
        assert len(request.messages) <= 1 + 3 + 1 + 1, "system, window, question, a filler"
