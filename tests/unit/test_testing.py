"""The in-memory world that AOS ships for the tests of its users."""

from __future__ import annotations

import pytest

from aos.domain.runs.run import RunStatus
from aos.errors import Refused, RunFailed, TransientError
from aos.testing import MemoryWorld, ScriptedModel

CEO = {"agent_id": "ceo", "purpose": "Lead the company."}


async def test_an_agent_from_json_answers_and_remembers() -> None:
    model = ScriptedModel("Sell.", lambda call: f"I have seen {len(call.messages)} messages")
    world = MemoryWorld(model=model)
    assert (await world.put_agent(CEO))["state"] == "active"
    first = await world.ask("ceo", "What now?", conversation_id="board")
    second = await world.ask("ceo", "And then?", conversation_id="board")
    assert (first.status, first.output) == (RunStatus.COMPLETED, "Sell.")
    assert second.output == "I have seen 4 messages"
    assert [message.content for message in await world.history("board")] == [
        "What now?",
        "Sell.",
        "And then?",
        second.output,
    ]


async def test_the_same_key_asks_once() -> None:
    world = MemoryWorld(model=ScriptedModel())
    await world.put_agent(CEO)
    first = await world.ask("ceo", "Hello", key="order-1", reply_to="businessinfinity-responses")
    again = await world.ask("ceo", "Hello", key="order-1", reply_to="businessinfinity-responses")
    assert first == again
    assert [reply["run_id"] for reply in world.replies()] == [first.run_id]


async def test_a_broken_card_says_what_is_wrong() -> None:
    status = await MemoryWorld().put_agent({"agent_id": "ceo", "purpos": "Lead."})
    assert status["state"] == "rejected"
    assert "purpose" in status["errors"][0]["hint"]


async def test_an_outage_of_the_model_costs_an_hour_and_not_the_run() -> None:
    away = [TransientError("429") for _ in range(60)]
    model = ScriptedModel(*away, "Here I am.")
    world = MemoryWorld(model=model)
    await world.put_agent(CEO)
    run = await world.ask("ceo", "Are you there?")
    assert run.status is RunStatus.IN_PROGRESS
    for _ in range(3):
        await world.advance(1200)
    run = await world.run(run.run_id)
    assert (run.status, run.output) == (RunStatus.COMPLETED, "Here I am.")


async def test_what_keeps_the_model_away_is_told_to_the_log_once_a_turn() -> None:
    world = MemoryWorld(model=ScriptedModel(*[TransientError("it said 429")] * 3, "Here I am."))
    await world.put_agent(CEO)
    run = await world.ask("ceo", "Are you there?", conversation_id="board")
    assert run.output == "Here I am."
    assert [line for line in world.telemetry.lines if line["event"] == "model_away"] == [
        {
            "event": "model_away",
            "level": "warning",
            "reason": "it said 429",
            "run_id": run.run_id,
            "conversation_id": "board",
            "agent_id": "ceo",
        }
    ]


async def test_a_refusal_of_the_model_ends_the_run() -> None:
    world = MemoryWorld(model=ScriptedModel(RunFailed("model_rejected", "too long")))
    await world.put_agent(CEO)
    run = await world.ask("ceo", "Hello")
    assert run.error is not None
    assert (run.status, run.error.code) == (RunStatus.FAILED, "model_rejected")


async def test_an_unknown_agent_is_refused_as_at_the_doors() -> None:
    with pytest.raises(Refused, match="there is no agent 'nobody'"):
        await MemoryWorld().ask("nobody", "Hello")
