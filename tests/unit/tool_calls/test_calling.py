"""A tool is called once as far as that can be, and the model is told the truth about the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from aos.domain.tools.tool import ToolOutcome
from aos.errors import OutcomeUnknown, TransientError
from aos.services.tool_calls import CommandDelivery
from tests.unit.tool_calls.mcp_in_memory import CALL, RUN, Mcp, McpWorld, said

T = TypeVar("T")


class Killed(BaseException):
    """The process ends here."""


class Breaking:
    """Lets everything through until an operation, and raises there."""

    def __init__(self, operation: str, *, acts: bool, error: BaseException, times: int = 1) -> None:
        self._operation = operation
        self._acts = acts
        self._error = error
        self.left = times

    async def __call__(self, operation: str, key: str, act: Callable[[], T]) -> T:
        await asyncio.sleep(0)
        if operation != self._operation or not self.left:
            return act()
        self.left -= 1
        if self._acts:
            act()
        raise self._error


@pytest.fixture
def world() -> McpWorld:
    return McpWorld()


async def killed(world: McpWorld, operation: str, *, acts: bool, tool: str = "add") -> None:
    """Handle the command on an instance that is killed at this operation."""
    broken = Mcp(world, intercept=Breaking(operation, acts=acts, error=Killed()))
    with pytest.raises(Killed):
        await broken.calls.handle(world.command(tool))


async def test_a_tool_is_called_and_its_result_sent_to_the_conversations_session(
    world: McpWorld,
) -> None:
    await world.mcp.calls.handle(world.command())
    assert world.results == [said("added Emma")]
    assert [kept.session_id for kept in world.broker.messages("aos-realm")] == [RUN]
    (event,) = world.telemetry.custom_events
    assert (event["name"], event["tool"], event["server"], event["outcome"]) == (
        *("MCPToolCall", "add", "books", "ok"),
    )
    (span,) = world.telemetry.spans
    assert span.attributes["gen_ai.tool.call.id"] == CALL


async def test_the_call_is_held_for_its_time_limit_and_a_margin(world: McpWorld) -> None:
    world.cards.put(timeout_seconds=20)
    await killed(world, "servers.call", acts=True)
    row = world.tables.tool_calls[RUN, CALL]
    assert (row.until - row.started_at).total_seconds() == 65.0
    assert row.result is None


async def test_a_command_that_comes_again_gets_the_same_result_without_a_call(
    world: McpWorld,
) -> None:
    for _ in range(3):
        await world.mcp.calls.handle(world.command())
    assert world.called == ["add"]
    assert world.results == [said("added Emma")] * 3


async def test_killed_before_the_call_was_entered_it_is_made_at_once(world: McpWorld) -> None:
    await killed(world, "tool_calls.start", acts=False)
    await world.mcp.calls.handle(world.command())
    assert (world.called, world.results) == (["add"], [said("added Emma")])


@pytest.mark.parametrize("effect", [False, True])
async def test_killed_in_the_call_it_comes_back_when_the_hold_is_over_and_is_not_made_again(
    world: McpWorld, effect: bool
) -> None:
    await killed(world, "servers.call", acts=effect)
    await world.mcp.calls.handle(world.command())
    assert (world.results, world.later) == ([], [10.0])
    world.clock.advance(105.0)
    await world.mcp.calls.handle(world.command())
    assert world.called == ["add"] * effect
    (told,) = world.results
    assert told.outcome == "outcome_unknown"
    assert "may or may not have had its effect" in told.content


async def test_copies_of_a_held_call_are_followed_by_one_look(world: McpWorld) -> None:
    await killed(world, "servers.call", acts=False)

    async def deliver() -> None:
        delivery = CommandDelivery(not_before=world.clock.now())
        await world.mcp.calls.handle(world.command(), delivery)

    for _ in range(3):
        await deliver()
    assert (world.results, world.later) == ([], [10.0])
    for _ in range(2):  # the look itself comes, and another copy
        world.clock.advance(10.0)
        await deliver()
        await deliver()
    assert len(world.later) == 3


async def test_a_look_whose_clock_is_behind_the_brokers_is_followed_by_the_next(
    world: McpWorld,
) -> None:
    await killed(world, "servers.call", acts=False)
    await world.mcp.calls.handle(world.command())
    ahead = CommandDelivery(not_before=world.clock.now() + timedelta(seconds=10))
    await world.mcp.calls.handle(world.command(), ahead)
    assert world.later == [10.0, 20.0]


@pytest.mark.parametrize("by_the_card", [False, True])
async def test_killed_in_a_call_that_may_be_repeated_it_is_made_again(
    world: McpWorld, by_the_card: bool
) -> None:
    tool = "add" if by_the_card else "count"
    if by_the_card:
        world.cards.put(repeatable=("add",))
    await killed(world, "servers.call", acts=True, tool=tool)
    world.clock.advance(105.0)
    await world.mcp.calls.handle(world.command(tool))
    assert world.called == [tool, tool]
    assert [result.outcome for result in world.results] == ["ok"]


@pytest.mark.parametrize("written", [False, True])
async def test_killed_while_the_result_is_kept_the_answer_was_told_first(
    world: McpWorld, written: bool
) -> None:
    """Realm takes the first result of a call; what comes later changes nothing."""
    await killed(world, "tool_calls.finish", acts=written)
    world.clock.advance(105.0)
    await world.mcp.calls.handle(world.command())
    assert world.called == ["add"]
    stands = "ok" if written else "outcome_unknown"
    assert [result.outcome for result in world.results] == ["ok", stands]


async def test_an_answer_is_sent_while_it_is_saved(world: McpWorld) -> None:
    sent = asyncio.Event()

    async def intercept(operation: str, key: str, act: Callable[[], T]) -> T:
        if operation == "tool_calls.finish":
            async with asyncio.timeout(2):
                await sent.wait()
        if operation == "bus.send":
            sent.set()
        return act()

    await Mcp(world, intercept=intercept).calls.handle(world.command())
    assert world.results == [said("added Emma")]
    row = world.tables.tool_calls[RUN, CALL]
    assert row.result is not None
    assert row.result.content == "added Emma"


async def test_what_the_tool_has_not_said_is_saved_before_it_is_sent(world: McpWorld) -> None:
    world.servers.failing["books"] = "does not start"
    order: list[str] = []

    async def intercept(operation: str, key: str, act: Callable[[], T]) -> T:
        order.append(operation)
        return act()

    await Mcp(world, intercept=intercept).calls.handle(world.command())
    assert [result.outcome for result in world.results] == ["not_called"]
    assert order[-3:] == ["tool_calls.start", "tool_calls.finish", "bus.send"]


async def test_a_result_is_kept_although_storage_is_away_for_a_while(world: McpWorld) -> None:
    intercept = Breaking("tool_calls.finish", acts=False, error=TransientError("away"), times=3)
    handling = asyncio.create_task(Mcp(world, intercept=intercept).calls.handle(world.command()))
    while not handling.done():
        await asyncio.sleep(0)
        world.clock.advance(world.clock.next_wake or 0.0)
    await handling
    assert (world.called, world.results) == (["add"], [said("added Emma")])


@pytest.mark.parametrize("took_effect", [False, True])
async def test_a_start_whose_answer_was_lost_is_looked_up_and_the_call_is_made_once(
    world: McpWorld, took_effect: bool
) -> None:
    intercept = Breaking("tool_calls.start", acts=took_effect, error=OutcomeUnknown("lost"))
    await Mcp(world, intercept=intercept).calls.handle(world.command())
    assert (world.called, world.results) == (["add"], [said("added Emma")])


async def test_of_two_at_once_one_calls_and_the_other_comes_back(world: McpWorld) -> None:
    await asyncio.gather(*(Mcp(world).calls.handle(world.command()) for _ in range(2)))
    assert world.called == ["add"]
    assert (len(world.results), world.later) == (1, [10.0])


@pytest.mark.parametrize("effect", [False, True])
async def test_a_message_that_its_killed_handler_lost_is_not_made_to_wait_for_the_hold(
    world: McpWorld, effect: bool
) -> None:
    await killed(world, "servers.call", acts=effect)
    await world.mcp.calls.handle(world.command(), CommandDelivery(redelivered=True))
    assert world.called == ["add"] * effect
    assert ([told.outcome for told in world.results], world.later) == (["outcome_unknown"], [])


async def test_a_lost_message_of_a_call_that_may_be_repeated_waits_for_the_hold(
    world: McpWorld,
) -> None:
    await killed(world, "servers.call", acts=True, tool="count")
    await world.mcp.calls.handle(world.command("count"), CommandDelivery(redelivered=True))
    assert (world.called, world.results, world.later) == (["count"], [], [10.0])


async def test_a_call_that_this_process_is_at_is_not_lost_with_its_message(
    world: McpWorld,
) -> None:
    began, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(operation: str, key: str, act: Callable[[], T]) -> T:
        if operation == "servers.call":
            began.set()
            await goes_on.wait()
        return act()

    calls = Mcp(world, intercept=slow).calls
    handling = asyncio.create_task(calls.handle(world.command()))
    async with asyncio.timeout(10):
        await began.wait()
        await calls.handle(world.command(), CommandDelivery(redelivered=True))
        assert (world.results, world.later) == ([], [10.0])
        goes_on.set()
        await handling
    assert (world.called, world.results) == (["add"], [said("added Emma")])


class Meanwhile:
    """Does something else before the first write of the ledger."""

    def __init__(self, happens: Callable[[], Awaitable[None]]) -> None:
        self._happens: Callable[[], Awaitable[None]] | None = happens

    async def __call__(self, operation: str, key: str, act: Callable[[], T]) -> T:
        happens = self._happens
        if happens is not None and operation in ("tool_calls.start", "tool_calls.finish"):
            self._happens = None
            await happens()
        return act()


async def test_a_call_that_another_began_meanwhile_is_never_told_as_not_called(
    world: McpWorld,
) -> None:
    world.cards.put(enabled=False)  # as an instance with an older catalog sees it

    async def another() -> None:
        world.cards.put()
        await killed(world, "servers.call", acts=True)

    await Mcp(world, intercept=Meanwhile(another)).calls.handle(world.command())
    assert (world.called, world.results, world.later) == (["add"], [], [10.0])
    world.clock.advance(105.0)
    await world.mcp.calls.handle(world.command())
    assert [told.outcome for told in world.results] == ["outcome_unknown"]


async def test_a_call_that_was_entered_slowly_is_held_anew_before_it_is_made(
    world: McpWorld,
) -> None:
    """Else another handler begins the call while the first is at it."""
    slow, held = [100.0], []

    async def intercept(operation: str, key: str, act: Callable[[], T]) -> T:
        if operation == "tool_calls.start" and slow:
            world.clock.advance(slow.pop())
        if operation == "servers.call":
            held.append(world.tables.tool_calls[RUN, CALL].until - world.clock.now())
        return act()

    await Mcp(world, intercept=intercept).calls.handle(world.command())
    assert (world.called, held) == (["add"], [timedelta(seconds=105)])


async def test_a_server_that_started_too_late_is_not_called_any_more(world: McpWorld) -> None:
    async def slow(operation: str, key: str, act: Callable[[], T]) -> T:
        if operation == "servers.hold":
            world.clock.advance(100.0)
        return act()

    await Mcp(world, intercept=slow).calls.handle(world.command(seconds=60.0))
    assert world.called == []
    assert [told.outcome for told in world.results] == ["not_called"]


async def test_past_the_deadline_nothing_is_called(world: McpWorld) -> None:
    await world.mcp.calls.handle(world.command(seconds=0))
    (told,) = world.results
    assert (world.called, told.outcome) == ([], "not_called")
    assert told.content == "The tool was not called: the run's time was over."


async def test_past_the_deadline_a_call_that_was_begun_has_an_unknown_outcome(
    world: McpWorld,
) -> None:
    late = world.command("count")
    await killed(world, "servers.call", acts=True, tool="count")
    world.clock.advance(600.0)
    await world.mcp.calls.handle(late)
    assert (world.called, [r.outcome for r in world.results]) == (["count"], ["outcome_unknown"])


async def test_a_call_has_no_more_time_than_its_run(world: McpWorld) -> None:
    broken = Mcp(world, intercept=Breaking("servers.call", acts=True, error=Killed()))
    with pytest.raises(Killed):
        await broken.calls.handle(world.command(seconds=10))
    row = world.tables.tool_calls[RUN, CALL]
    assert (row.until - row.started_at).total_seconds() == 55.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"enabled": False}, "the MCP server 'books' is disabled by its card"),
        ({"tools": ("count",)}, "the card of the MCP server 'books' does not list 'add'"),
    ],
)
async def test_what_the_card_forbids_is_not_called(
    world: McpWorld, change: dict[str, Any], says: str
) -> None:
    world.cards.put(**change)
    await world.mcp.calls.handle(world.command())
    told = ToolOutcome(outcome="not_called", content=f"The tool was not called: {says}.")
    assert (world.called, world.results) == ([], [told])


async def test_a_server_that_is_gone_or_does_not_start_is_named(world: McpWorld) -> None:
    world.servers.failing["books"] = "cannot be started"
    await world.mcp.calls.handle(world.command())
    await world.mcp.calls.handle(world.command(server_id="gone", tool_call_id="other"))
    assert [r.outcome for r in world.results] == ["not_called", "not_called"]
    assert world.results[0].content == (
        "The tool was not called: the MCP server 'books' is not available now."
    )
    assert "there is no MCP server 'gone'" in world.results[1].content


async def test_a_lost_call_that_may_be_repeated_is_made_once_more_then_told_as_an_error(
    world: McpWorld,
) -> None:
    lost = ToolOutcome(outcome="outcome_unknown", content="the MCP server 'books' ended")
    world.has("look", lambda a: lost, idempotentHint=True)
    world.has("burn", lambda a: lost)
    await world.mcp.calls.handle(world.command("look"))
    await world.mcp.calls.handle(world.command("burn", tool_call_id="other"))
    assert world.called == ["look", "look", "burn"]
    assert [(r.outcome, r.content) for r in world.results] == [
        ("error", lost.content),
        ("outcome_unknown", lost.content),
    ]


async def test_a_tools_error_is_a_result_like_any_other(world: McpWorld) -> None:
    world.has("sell", lambda a: ToolOutcome(outcome="error", content="no such book"))
    await world.mcp.calls.handle(world.command("sell"))
    assert world.results == [ToolOutcome(outcome="error", content="no such book")]


async def test_what_breaks_with_every_delivery_is_ended_and_told(world: McpWorld) -> None:
    await world.mcp.calls.give_up(world.command())
    await world.mcp.calls.give_up(world.command())
    assert [result.outcome for result in world.results] == ["not_called", "not_called"]
    assert world.called == []


async def test_a_call_that_a_server_did_not_take_is_made_once_more_and_no_more() -> None:
    world = McpWorld()
    refused = ToolOutcome(outcome="not_called", content="has ended the session")
    answers = [refused, said("added")]
    world.has("add", lambda a: answers.pop(0))
    await world.mcp.calls.handle(world.command())
    assert world.results == [said("added")]
    assert world.called == ["add", "add"]

    world = McpWorld()
    world.has("add", lambda a: refused)
    await world.mcp.calls.handle(world.command())
    assert world.results == [refused]
    assert world.called == ["add", "add"]


async def test_a_clock_behind_the_brokers_does_not_make_a_held_call_circle(
    world: McpWorld,
) -> None:
    """The command came at the end of the hold by the broker's clock; ours is not there yet."""
    await killed(world, "servers.call", acts=True, tool="count")
    until = world.tables.tool_calls[RUN, CALL].until
    assert world.clock.now() < until
    await world.mcp.calls.handle(world.command("count"), CommandDelivery(not_before=until))
    assert ([r.outcome for r in world.results], world.later) == (["ok"], [])


async def cut_off(world: McpWorld, tool: str) -> None:
    """The process ends while the server is at the call."""
    began = asyncio.Event()

    async def forever(operation: str, key: str, act: Callable[[], T]) -> T:
        if operation == "servers.call":
            began.set()
            await asyncio.Event().wait()
        return act()

    handling = asyncio.create_task(Mcp(world, intercept=forever).calls.handle(world.command(tool)))
    async with asyncio.timeout(10):
        await began.wait()
        handling.cancel()
        await asyncio.wait([handling])


async def test_a_repeatable_call_that_was_cut_off_is_made_elsewhere_at_once(
    world: McpWorld,
) -> None:
    await cut_off(world, "count")
    assert world.results == []
    await world.mcp.calls.handle(world.command("count"))
    assert ([r.outcome for r in world.results], world.later) == (["ok"], [])


async def test_realm_hears_at_once_that_an_unsafe_call_was_cut_off(world: McpWorld) -> None:
    await cut_off(world, "add")
    assert [r.outcome for r in world.results] == ["outcome_unknown"]
    await world.mcp.calls.handle(world.command("add"))
    assert world.called == []


class Noting:
    """Keeps the operations on rows of calls."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def __call__(self, operation: str, key: str, act: Callable[[], T]) -> T:
        if operation.startswith(("tool_calls.", "tools.")):
            self.done.append(operation.removeprefix("tool_calls."))
        return act()


FIRST = CommandDelivery(is_first=True)


async def test_a_call_that_comes_first_is_begun_without_a_look_for_its_row(
    world: McpWorld,
) -> None:
    noting = Noting()
    await Mcp(world, intercept=noting).calls.handle(world.command("add"), FIRST)
    assert noting.done == ["start", "finish"]
    assert world.results == [said("added Emma")]


@pytest.mark.parametrize("tool", ["add", "count"])
async def test_a_copy_of_a_call_that_looks_new_makes_no_second_call(
    world: McpWorld, tool: str
) -> None:
    await world.mcp.calls.handle(world.command(tool), FIRST)
    for mcp in (world.mcp, Mcp(world)):
        await mcp.calls.handle(world.command(tool), FIRST)
    assert len(world.results) == 3
    assert len({str(result) for result in world.results}) == 1
    assert len(world.servers.calls) == 1


async def test_a_copy_of_a_call_that_another_instance_makes_looks_again_later(
    world: McpWorld,
) -> None:
    await killed(world, "servers.call", acts=True)
    other = Noting()
    await Mcp(world, intercept=other).calls.handle(world.command("add"), FIRST)
    assert other.done == ["start", "find"]
    assert world.results == []
    assert len(world.servers.calls) == 1
