"""Calls that become tasks: asked for without a waiting process, and cancelled with their run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from aos.adapters.memory import MemoryToolLedger
from aos.adapters.memory.entities import Kept
from aos.domain.envelope import MCP_QUEUE, CallTool, CancelCall, Command, read_command
from aos.domain.runs.run import RunStatus
from aos.domain.tools.questions import CallPause, CallResume, TaskWait, ToolQuestion
from aos.domain.tools.tool import ToolOutcome, ToolSchema
from aos.errors import OutcomeUnknown, TransientError
from aos.services.tool_calls import CallCanceller, CommandDelivery
from aos.testing import Calls, MemoryWorld, ScriptedModel
from tests.unit.tool_calls.mcp_in_memory import CALL, RUN, Mcp, McpWorld, said
from tests.unit.tool_calls.test_calling import Breaking, Killed
from tests.unit.tools.worlds import CEO, CLOCK, told

T = TypeVar("T")
WORKING = ToolOutcome(
    outcome="outcome_unknown",
    content="has not ended the task",
    pause=CallPause(kind="task", task_id="t-1", poll_seconds=5.0),
)


@pytest.fixture
def world() -> McpWorld:
    made = McpWorld()
    made.has("build", lambda arguments: WORKING)
    made.servers.tasks["t-1"] = WORKING
    return made


def take(world: McpWorld) -> tuple[Kept, Command]:
    """Take the command that is next, also one that is not due."""
    (first, *_) = world.broker.messages(MCP_QUEUE)
    first.visible_at = min(first.visible_at, world.clock.now())
    kept = world.broker.receive(MCP_QUEUE)
    assert kept is not None
    assert kept.lock is not None
    world.broker.complete(kept, kept.lock)
    return kept, read_command(kept.body)


async def cancel_due(world: McpWorld, mcp: Mcp) -> None:
    """Handle the CancelCall that is next."""
    _, command = take(world)
    assert isinstance(command, CancelCall)
    assert await canceller(world, mcp).cancel(command) is None


def cancellations(world: McpWorld) -> list[float]:
    """In how many seconds CancelCalls come."""
    now = world.clock.now()
    kept = world.broker.messages(MCP_QUEUE)
    assert all(json.loads(message.body)["type"] == "CancelCall" for message in kept)
    return [(message.visible_at - now).total_seconds() for message in kept]


async def deliver(world: McpWorld) -> None:
    """Handle the CallTool that is due."""
    kept = world.broker.receive(MCP_QUEUE)
    assert kept is not None
    command = read_command(kept.body)
    assert isinstance(command, CallTool)
    delivery = CommandDelivery(
        redelivered=kept.deliveries > 1, sequence_number=kept.sequence_number
    )
    await world.mcp.calls.handle(command, delivery)
    assert kept.lock is not None
    world.broker.complete(kept, kept.lock)


async def test_copies_of_a_question_about_a_task_become_one(world: McpWorld) -> None:
    for number in (1, 2, 3):  # of the second and third, a handler has died after it had sent
        await world.mcp.calls.handle(
            world.command("build"), CommandDelivery(sequence_number=number)
        )
    assert world.later == [5.0]
    await world.mcp.calls.handle(world.command("build"))  # a copy that continues another message
    assert world.later == [5.0, 5.0]
    world.clock.advance(5.0)
    await deliver(world)
    await deliver(world)
    assert world.later == [5.0]


async def test_a_question_that_comes_a_little_early_is_asked(world: McpWorld) -> None:
    await world.mcp.calls.handle(world.command("build"), CommandDelivery(sequence_number=1))
    world.clock.advance(4.8)
    await world.mcp.calls.handle(world.command("build"), CommandDelivery(sequence_number=2))
    assert world.later == [pytest.approx(0.2), 5.0]


async def test_a_question_whose_handler_died_before_it_sent_the_next_goes_on(
    world: McpWorld,
) -> None:
    first = CommandDelivery(sequence_number=1)
    dying = Mcp(world, intercept=Breaking("bus.send", acts=False, error=Killed()))
    with pytest.raises(Killed):
        await dying.calls.handle(world.command("build"), first)
    await world.mcp.calls.handle(world.command("build"), replace(first, redelivered=True))
    assert world.later == [5.0]


async def test_a_task_is_asked_for_at_its_interval_until_it_ends(world: McpWorld) -> None:
    await world.mcp.calls.handle(world.command("build"))
    assert (world.results, world.later) == ([], [5.0])
    world.clock.advance(5.0)
    await deliver(world)
    assert (world.results, world.later) == ([], [5.0])
    world.servers.tasks["t-1"] = said("built")
    world.clock.advance(5.0)
    await deliver(world)
    assert (world.results, world.called, world.later) == ([said("built")], ["build"], [])


async def test_a_command_that_comes_too_early_asks_nothing(world: McpWorld) -> None:
    await world.mcp.calls.handle(world.command("build"))
    world.servers.tasks["t-1"] = said("built")
    await world.mcp.calls.handle(world.command("build"))
    assert (world.results, world.later) == ([], [5.0, 5.0])


async def test_a_call_that_becomes_a_task_while_it_is_taken_for_lost_goes_on_as_a_task(
    world: McpWorld,
) -> None:
    """Its handler lost the message's lock, and writes the task while another ends the call."""
    dying = Mcp(world, intercept=Breaking("servers.call", acts=False, error=Killed()))
    command = world.command("build")
    with pytest.raises(Killed):
        await dying.calls.handle(command)

    async def late(operation: str, key: str, act: Callable[[], T]) -> T:
        ((place, row),) = world.tables.tool_calls.items()
        if operation == "tool_calls.start" and row.task is None:
            task = TaskWait(task_id="t-1", poll_at=world.clock.now())
            world.tables.tool_calls[place] = replace(row, task=task, etag="changed")
        return act()

    second = Mcp(world, intercept=late)
    await second.calls.handle(command, CommandDelivery(redelivered=True, sequence_number=1))
    world.servers.tasks["t-1"] = said("built")
    world.clock.advance(5.0)
    await deliver(world)
    assert (world.results, world.servers.cancelled_tasks) == ([said("built")], [])


async def test_a_task_that_came_after_its_call_was_taken_for_lost_is_cancelled(
    world: McpWorld,
) -> None:
    command = world.command("build")

    async def slow(operation: str, key: str, act: Callable[[], T]) -> T:
        if operation == "servers.call":
            again = CommandDelivery(redelivered=True, sequence_number=1)
            await world.mcp.calls.handle(command, again)
        return act()

    await Mcp(world, intercept=slow).calls.handle(command)
    assert {result.outcome for result in world.results} == {"outcome_unknown"}
    assert world.servers.cancelled_tasks == ["t-1"]


async def test_a_server_that_is_away_is_asked_later(world: McpWorld) -> None:
    await world.mcp.calls.handle(world.command("build"))
    world.servers.failing["books"] = "is away"
    world.clock.advance(5.0)
    await deliver(world)
    assert (world.results, world.later) == ([], [60.0])
    del world.servers.failing["books"]
    world.servers.tasks["t-1"] = said("built")
    world.clock.advance(60.0)
    await deliver(world)
    assert world.results == [said("built")]


async def test_at_the_runs_deadline_the_task_is_cancelled(world: McpWorld) -> None:
    await world.mcp.calls.handle(world.command("build", seconds=8.0))
    world.clock.advance(5.0)
    await deliver(world)
    assert world.later == [3.0]
    world.clock.advance(3.0)
    await deliver(world)
    (result,) = world.results
    assert result.outcome == "outcome_unknown"
    assert world.servers.cancelled_tasks == ["t-1"]


async def test_a_task_whose_row_is_written_though_storage_stammers(world: McpWorld) -> None:
    stammers = Breaking("tool_calls.start", acts=True, error=OutcomeUnknown("?"), times=2)
    mcp = Mcp(world, intercept=stammers)
    await mcp.calls.handle(world.command("build"))
    assert (world.called, world.later) == (["build"], [5.0])


async def test_a_call_that_dies_before_its_task_is_written_is_unknown(world: McpWorld) -> None:
    dying = Mcp(world, intercept=Breaking("servers.call", acts=True, error=Killed()))
    with pytest.raises(Killed):
        await dying.calls.handle(world.command("build"))
    world.clock.advance(120.0)
    await world.mcp.calls.handle(world.command("build"))
    assert [result.outcome for result in world.results] == ["outcome_unknown"]
    assert world.called == ["build"]


def cancelled(**more: Any) -> CancelCall:
    return CancelCall(
        run_id=RUN, conversation_id=RUN, tool_call_id=CALL, server_id="books", tool="build", **more
    )


def canceller(world: McpWorld, mcp: Mcp | None = None) -> CallCanceller:
    return CallCanceller(
        ledger=MemoryToolLedger(world.tables),
        tasks=(mcp or world.mcp).tasks,
        clock=world.clock,
        ids=world.ids,
    )


async def test_the_task_of_a_run_that_ended_is_cancelled_once_and_no_more_asked_for(
    world: McpWorld,
) -> None:
    await world.mcp.calls.handle(world.command("build"))
    for _ in range(2):
        assert await canceller(world).cancel(cancelled()) is None
    assert world.servers.cancelled_tasks == ["t-1"]
    world.clock.advance(5.0)
    await deliver(world)
    assert world.later == []


@pytest.mark.parametrize("ends", ["cancelled", "late"])
async def test_a_task_whose_server_is_away_is_cancelled_when_the_server_is_back(
    world: McpWorld, ends: str
) -> None:
    command = world.command("build")
    await world.mcp.calls.handle(command)
    take(world)
    away = Mcp(
        world,
        intercept=Breaking(
            "servers.cancel_task", acts=False, error=TransientError("away"), times=2
        ),
    )
    if ends == "cancelled":
        assert await canceller(world, away).cancel(cancelled()) is None
    else:
        world.clock.advance(600.0)
        await away.calls.handle(command)
    for delay in (5.0, 10.0):
        assert world.servers.cancelled_tasks == []
        assert cancellations(world) == [delay]
        world.clock.advance(delay)
        await cancel_due(world, away)
    assert (world.servers.cancelled_tasks, cancellations(world)) == (["t-1"], [])


@pytest.mark.parametrize("why", ["late", "disabled", "not_listed"])
async def test_a_task_that_is_not_told_its_answer_is_cancelled(world: McpWorld, why: str) -> None:
    resume = CallResume(kind="task", task_id="t-1")
    command = world.command("build", round_number=1, resume=resume)
    match why:
        case "late":
            world.clock.advance(600.0)
        case "disabled":
            world.cards.put(enabled=False)
        case _:
            world.cards.put(tools=["count"])
    await world.mcp.calls.handle(command)
    assert [result.outcome for result in world.results] == ["outcome_unknown"]
    assert world.servers.cancelled_tasks == ["t-1"]


async def test_a_server_that_stays_away_is_asked_twelve_times(world: McpWorld) -> None:
    error = TransientError("away")
    away = Mcp(world, intercept=Breaking("servers.cancel_task", acts=False, error=error, times=99))
    await canceller(world, away).cancel(cancelled(task_id="t-1"))
    for _ in range(11):
        world.clock.advance(300.0)
        await cancel_due(world, away)
    assert cancellations(world) == []
    assert [line["event"] for line in world.telemetry.lines] == ["task_not_cancelled"]


async def test_a_call_that_nobody_has_begun_is_not_made_after_its_cancellation(
    world: McpWorld,
) -> None:
    await canceller(world).cancel(cancelled())
    await world.mcp.calls.handle(world.command("build"))
    assert (world.called, [r.outcome for r in world.results]) == ([], ["not_called"])


async def test_a_task_that_was_not_told_its_answer_is_cancelled_with_the_run(
    world: McpWorld,
) -> None:
    """The cancellation overtakes the command with the answer."""
    question = ToolQuestion(key="q", message="Which one?")
    pause = CallPause(kind="task", task_id="t-1", questions=(question,))
    world.servers.tasks["t-1"] = replace(WORKING, pause=pause)
    await world.mcp.calls.handle(world.command("build"))
    world.clock.advance(5.0)
    await deliver(world)
    await canceller(world).cancel(cancelled(round_number=1))
    assert world.servers.cancelled_tasks == ["t-1"]


async def test_a_task_that_asks_is_cancelled_also_when_its_rows_were_scrubbed_before(
    world: McpWorld,
) -> None:
    """A conversation is deleted; its cancellation waits behind other messages for minutes."""
    question = ToolQuestion(key="q", message="Which secret?")
    pause = CallPause(kind="task", task_id="t-1", questions=(question,), request_state="planted")
    world.servers.tasks["t-1"] = replace(WORKING, pause=pause)
    await world.mcp.calls.handle(world.command("build"))
    world.clock.advance(5.0)
    await deliver(world)
    ((key, row),) = world.tables.tool_calls.items()
    world.tables.tool_calls[key] = scrubbed = row.scrub()
    assert not any(word in repr(scrubbed) for word in ("secret", "planted"))
    await canceller(world).cancel(cancelled())
    assert world.servers.cancelled_tasks == ["t-1"]


async def test_a_call_that_is_being_made_is_looked_at_again(world: McpWorld) -> None:
    dying = Mcp(world, intercept=Breaking("servers.call", acts=False, error=Killed()))
    with pytest.raises(Killed):
        await dying.calls.handle(world.command("build"))
    later = await canceller(world).cancel(cancelled())
    assert later is not None
    assert (later - world.clock.now()).total_seconds() == 5.0
    world.clock.advance(120.0)
    assert await canceller(world).cancel(cancelled()) is None


async def test_a_clock_behind_the_brokers_does_not_let_a_cancellation_circle(
    world: McpWorld,
) -> None:
    dying = Mcp(world, intercept=Breaking("servers.call", acts=False, error=Killed()))
    with pytest.raises(Killed):
        await dying.calls.handle(world.command("build"))
    broker = world.clock.now() + timedelta(seconds=60)
    later = await canceller(world).cancel(cancelled(), not_before=broker)
    assert later == broker + timedelta(seconds=5)


async def tasked() -> MemoryWorld:
    """A world with an agent whose tool `build` becomes a task."""
    world = MemoryWorld(model=ScriptedModel(Calls(("clock__build", {})), "Done."))
    world.servers.add("clock", ToolSchema(name="build"), lambda arguments: WORKING)
    world.servers.tasks["t-1"] = WORKING
    await world.put_mcp_server(CLOCK, {})
    await world.put_agent(CEO)
    return world


async def test_a_run_waits_for_its_task_and_goes_on() -> None:
    world = await tasked()
    run = await world.ask("ceo", "Build.", conversation_id="c")
    assert run.status is RunStatus.IN_PROGRESS
    await world.advance(60)
    assert (await world.run(run.run_id)).status is RunStatus.IN_PROGRESS
    world.servers.tasks["t-1"] = said("built")
    await world.advance(60)
    run = await world.run(run.run_id)
    assert (run.status, run.output) == (RunStatus.COMPLETED, "Done.")
    assert told(await world.history("c"))[2] == ("tool", "built")
    assert len(world.servers.calls) == 1


async def test_a_cancelled_run_takes_its_task_along() -> None:
    world = await tasked()
    run = await world.ask("ceo", "Build.", conversation_id="c")
    run = await world.cancel(run.run_id)
    assert run.status is RunStatus.CANCELLED
    assert world.servers.cancelled_tasks == ["t-1"]
    await world.advance(120)
    assert world.broker.messages(MCP_QUEUE) == []


async def test_a_task_that_asks_is_told_the_answer_and_cancelled_with_the_run() -> None:
    world = await tasked()
    run = await world.ask("ceo", "Build.", conversation_id="c")
    assert WORKING.pause is not None
    question = ToolQuestion(
        key="q", message="Now?", requested_schema={"type": "object", "properties": {}}
    )
    asks = replace(WORKING, pause=replace(WORKING.pause, questions=(question,)))
    world.servers.tasks["t-1"] = asks
    resumed: list[CallResume] = []

    def go_on(arguments: object, resume: CallResume) -> ToolOutcome:
        resumed.append(resume)
        return WORKING

    world.servers.continuations["clock", "build"] = go_on
    await world.advance(30)
    assert (await world.run(run.run_id)).status is RunStatus.WAITING_INPUT
    world.servers.tasks["t-1"] = WORKING
    (item,) = (await world.waiting_questions()).items
    await world.answer(run.run_id, item.question_id)
    (resume,) = resumed
    assert (resume.kind, resume.task_id, resume.answers[0].action) == ("task", "t-1", "accept")
    await world.cancel(run.run_id)
    assert world.servers.cancelled_tasks == ["t-1"]
