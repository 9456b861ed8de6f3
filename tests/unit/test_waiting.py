"""A run that is not done says why, since when, until when, and what ends it; turns say what they
took."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from aos.domain.runs.run import Run, RunStatus
from aos.domain.runs.waiting import MAX_TOOLS, MAX_TURNS
from aos.domain.tools.tool import Verdict
from aos.errors import TransientError
from aos.services.execution import model_call
from aos.testing import Calls, MemoryWorld, ScriptedModel
from tests.unit.tools.worlds import a_world

GUARDED = {"mcp_tools": [{"server": "clock", "tools": ["set"], "approval": "always"}, "clock/now"]}
NOW = Calls(("clock__now", {}))
SET = Calls(("clock__set", {"to": "noon"}))


def wait_of(run: Run) -> dict[str, Any]:
    """The kind and the times of what the run waits for."""
    assert run.waiting is not None
    return {n: getattr(run.waiting, n) for n in ("kind", "since", "until")}


async def asked_without_realm(world: MemoryWorld) -> Run:
    """A run that was admitted, and that realm has not taken."""

    async def away(*args: object) -> None:
        raise TransientError("the bus is away")

    send, world.ports.bus.send = world.ports.bus.send, away  # type: ignore[method-assign]
    run = await world.ask("ceo", "Hi")
    world.ports.bus.send = send  # type: ignore[method-assign]
    return run


async def test_a_run_that_realm_has_not_taken_waits_in_the_queue() -> None:
    world = await a_world("Hello.")
    run = await asked_without_realm(world)
    end = run.created_at + timedelta(days=1)
    assert wait_of(run) == {"kind": "queue", "since": run.created_at, "until": end}


async def test_a_run_whose_model_is_asked_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_call, "WATCH_SECONDS", 0.01)
    seen: list[Run] = []
    world = await a_world(NOW, "Noon.")
    model = world.model
    assert isinstance(model, ScriptedModel)
    complete = model.complete

    def shows_turn(run: Run, turns: int) -> bool:
        """What a call of the model after so many turns shows when it is slow."""
        return len(run.turns) == turns and wait_of(run)["kind"] == "model"

    async def look(call: Any) -> Any:
        async with asyncio.timeout(5):
            while not any(shows_turn(run, len(model.calls)) for run in seen):
                await asyncio.sleep(0.005)
                for rows in world.tables.conversations.values():
                    seen.extend(rows.runs.values())
        world.clock.advance(3.0)
        return await complete(call)

    model.complete = look  # type: ignore[method-assign]
    run = await world.ask("ceo", "What time is it?")
    last = seen[-1]  # the second turn: the results of the first are saved
    assert run.started_at is not None
    since = run.started_at + timedelta(seconds=3)
    assert (wait_of(last)["kind"], wait_of(last)["since"]) == ("model", since)
    assert (last.turns[0].tools[0].state, last.turns[0].milliseconds) == ("ok", 3000)


async def test_a_run_that_waits_for_a_tool_names_it() -> None:
    world = await a_world(NOW, "Noon.")
    handle = world.mcp.commands.handle

    async def holds(message: object) -> None:
        """Take the call and never answer."""

    world.mcp.commands.handle = holds  # type: ignore[method-assign, assignment]
    run = await world.ask("ceo", "What time is it?")
    world.mcp.commands.handle = handle  # type: ignore[method-assign]
    assert run.started_at is not None
    end = run.started_at + timedelta(minutes=30)
    assert wait_of(run) == {"kind": "tools", "since": run.started_at, "until": end}
    assert run.waiting is not None
    assert run.waiting.reason == "no result yet of clock/now"
    assert run.waiting.tool_call_ids == (f"call_{run.run_id[:8]}_0_0",)
    assert run.turns[0].tools[0].state == "called"


async def test_a_run_that_waits_for_a_person_says_where_to_decide() -> None:
    world = await a_world(SET, "Done.", card=GUARDED)
    run = await world.ask("ceo", "Set it.")
    call_id = f"call_{run.run_id[:8]}_0_0"
    assert run.started_at is not None
    end = run.started_at + timedelta(days=1)
    assert wait_of(run) == {"kind": "approval", "since": run.started_at, "until": end}
    assert run.waiting is not None
    assert f"POST /api/runs/{run.run_id}/approvals/{call_id}" in run.waiting.ends_with


async def test_a_run_whose_model_is_away_says_when_it_is_asked_again() -> None:
    world = MemoryWorld(model=ScriptedModel(*[TransientError("away")] * 200, "Hello."))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    run = await world.ask("ceo", "Hi")
    assert run.status is RunStatus.IN_PROGRESS
    (rows,) = world.tables.conversations.values()
    assert wait_of(run)["kind"] == "retry"
    assert wait_of(run)["until"] == rows.head.retry_at


async def test_an_ended_run_waits_for_nothing_and_says_what_its_turns_took() -> None:
    world = await a_world(Calls(("clock__now", {}), ("clock__set", {})), "Noon.")
    run = await world.ask("ceo", "What time is it?")
    assert (run.status, run.waiting) == (RunStatus.COMPLETED, None)
    assert [turn.turn for turn in run.turns] == [1, 2]
    assert [tool.name for tool in run.turns[0].tools] == ["clock/now", "clock/set"]
    assert {tool.state for tool in run.turns[0].tools} == {"ok"}
    assert all(tool.milliseconds is not None for tool in run.turns[0].tools)
    spent = sum(turn.input_tokens + turn.output_tokens for turn in run.turns)
    assert spent == run.usage.total_tokens


async def test_the_last_turns_and_the_first_tools_of_a_turn_are_shown() -> None:
    many = Calls(*[("clock__now", {})] * (MAX_TOOLS + 1))
    world = await a_world(
        *[many] * 3, *[NOW] * MAX_TURNS, "Done.", card={"limits": {"max_turns": 60}}
    )
    run = await world.ask("ceo", "Again and again.")
    assert run.status is RunStatus.COMPLETED
    assert [turn.turn for turn in run.turns] == list(range(5, MAX_TURNS + 5))
    world = await a_world(many, "Done.")
    assert len((await world.ask("ceo", "Once.")).turns[0].tools) == MAX_TOOLS


async def test_a_denied_call_stands_in_its_turn_as_denied() -> None:
    world = await a_world(SET, "Then not.", card=GUARDED)
    run = await world.ask("ceo", "Set it.")
    deny: Verdict = "deny"
    run = await world.decide(run.run_id, f"call_{run.run_id[:8]}_0_0", deny)
    assert [tool.state for tool in run.turns[0].tools] == ["denied"]


async def test_parent_and_child_name_each_other() -> None:
    delegate = Calls(("delegate", {"agent_id": "cfo", "message": "Count."}))
    world = MemoryWorld(model=ScriptedModel(delegate, "Counted.", "Done."))
    await world.put_agent({"agent_id": "cfo", "purpose": "Count."})
    await world.put_agent(
        {
            "agent_id": "ceo",
            "purpose": "Lead.",
            "agent_type": "LeadershipAgent",
            "team": ["cfo"],
        }
    )
    run = await world.ask("ceo", "Lead.")
    (child_id,) = run.child_run_ids
    child = await world.run(child_id)
    assert (child.agent_id, child.parent_run_id) == ("cfo", run.run_id)
    assert run.parent_run_id is None
