"""Runs that use tools: the whole road in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from aos.domain.envelope import Outgoing, ToolResult, to_realm
from aos.domain.runs.run import RunStatus, Usage
from aos.domain.tools.tool import MessageCall, ToolOutcome, ToolSchema
from aos.services.catalog.reader import CatalogReader
from aos.testing import Calls, MemoryWorld, ScriptedModel
from tests.unit.tools.worlds import CEO, CLOCK, a_world, seen_by, told

TIME = Calls(("clock__now", {"zone": "CET"}))


def model_of(world: MemoryWorld) -> ScriptedModel:
    assert isinstance(world.model, ScriptedModel)
    return world.model


async def test_a_tool_is_called_and_its_result_goes_to_the_next_turn() -> None:
    world = await a_world(TIME, "It is noon.")
    run = await world.ask("ceo", "What time is it?", conversation_id="c")
    assert (run.status, run.output) == (RunStatus.COMPLETED, "It is noon.")
    prefix = f"call_{run.run_id[:8]}"
    call = MessageCall(tool_call_id=f"{prefix}_0_0", name="clock__now", arguments='{"zone": "CET"}')
    history = await world.history("c")
    assert told(history) == [
        ("user", "What time is it?"),
        ("assistant", ""),
        ("tool", "noon in CET"),
        ("assistant", "It is noon."),
    ]
    assert history[1].tool_calls == (call,)
    assert history[2].tool_call_id == call.tool_call_id
    assert seen_by(world, 1) == told(history)[:3]
    assert [tool.name for tool in model_of(world).calls[0].tools] == ["clock__now", "clock__set"]


async def test_usage_adds_up_over_turns_and_is_counted_once() -> None:
    world = await a_world(TIME, "It is noon.")
    run = await world.ask("ceo", "What time is it?")
    calls = model_of(world).calls
    words = sum(len(m.content.split()) for call in calls for m in call.messages)
    assert run.usage == Usage(input_tokens=words, output_tokens=1 + 3)
    (day,) = world.tables.usage.values()
    assert (day.runs, day.usage) == (1, run.usage)


async def test_results_enter_the_history_in_the_order_of_their_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await a_world(
        Calls(("clock__now", {"zone": "a"}), ("clock__now", {"zone": "b"}), text="Two."), "Done."
    )
    results: list[Outgoing] = []
    send = world.ports.bus.send

    async def last_result_first(outgoing: Outgoing) -> None:
        if not isinstance(outgoing.command, ToolResult):
            await send(outgoing)
            return
        results.append(outgoing)
        if len(results) == 2:
            for result in reversed(results):
                await send(result)

    monkeypatch.setattr(world.ports.bus, "send", last_result_first)
    run = await world.ask("ceo", "Both?", conversation_id="c")
    assert run.output == "Done."
    assert told(await world.history("c"))[1:4] == [
        ("assistant", "Two."),
        ("tool", "noon in a"),
        ("tool", "noon in b"),
    ]


async def test_a_model_that_repeats_its_calls_every_turn_gets_another_id_each_time() -> None:
    world = await a_world(TIME, TIME, TIME, "Still noon.")
    run = await world.ask("ceo", "And now?", conversation_id="c")
    ids = [m.tool_call_id for m in await world.history("c") if m.role == "tool"]
    assert ids == [f"call_{run.run_id[:8]}_{turn}_0" for turn in range(3)]
    assert len(world.servers.calls) == 3


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        (Calls(("clock__now", "{broken")), "error: the arguments are not a JSON object"),
        (Calls(("clock__now", "[1]")), "error: the arguments are not a JSON object"),
        (Calls(("clock__now", '{"a": NaN}')), "error: the arguments are not a JSON object"),
        (Calls(("clock__now", '{"a": 1e999}')), "error: the arguments are not a JSON object"),
        (Calls(("clock__halt", {})), "error: there is no tool 'clock__halt'"),
        (Calls(("delegate", {"agent_id": "ceo"})), "error: there is no tool 'delegate'"),
        (Calls(("clock__now", f'"{"x" * 70_000}"')), "error: the arguments have 70,002 bytes"),
    ],
    ids=["no JSON", "no object", "NaN", "1e999", "no such tool", "no team", "too large"],
)
async def test_a_call_that_cannot_be_made_is_told_to_the_model(calls: Calls, said: str) -> None:
    world = await a_world(calls, "I see.")
    run = await world.ask("ceo", "Do it.", conversation_id="c")
    assert (run.status, run.output) == (RunStatus.COMPLETED, "I see.")
    assert (await world.history("c"))[2].content.startswith(said)
    assert world.servers.calls == []
    shown = model_of(world).calls[1].messages[2].tool_calls[0].arguments
    assert shown in ("{}", '{"agent_id": "ceo"}')


async def test_no_arguments_at_all_are_an_empty_object() -> None:
    world = await a_world(Calls(("clock__now", "")), "Noon.")
    await world.ask("ceo", "Time?")
    assert [call.arguments for call in world.servers.calls] == [{}]


async def test_a_tool_that_the_card_does_not_grant_is_neither_offered_nor_called() -> None:
    world = await a_world(
        Calls(("clock__set", {})), "I may not.", card={"mcp_tools": ["clock/now"]}
    )
    await world.ask("ceo", "Set it.", conversation_id="c")
    assert [tool.name for tool in model_of(world).calls[0].tools] == ["clock__now"]
    assert world.servers.calls == []


async def test_calls_past_the_32nd_of_a_turn_are_not_made() -> None:
    world = await a_world(Calls(*[("clock__now", {})] * 40), "Enough.")
    run = await world.ask("ceo", "Often?", conversation_id="c")
    history = await world.history("c")
    results = [m.content for m in history if m.role == "tool"]
    assert (len(world.servers.calls), len(results)) == (32, 40)
    assert all(text.startswith("error: not made: a turn has") for text in results[32:])
    assert run.output == "Enough."


async def test_an_absurd_number_of_calls_is_bounded_and_no_turn_is_too_large_to_save() -> None:
    world = await a_world(*[Calls(*[("nope", {})] * 500)] * 3, "Enough.")
    run = await world.ask("ceo", "Often?", conversation_id="c")
    assert run.output == "Enough."
    assert len(await world.history("c")) == 1 + 3 * 65 + 1


@pytest.mark.parametrize(
    ("limits", "answers", "code", "made"),
    [
        ({"max_turns": 2}, [TIME, TIME, "No."], "max_turns", 1),
        ({"max_tool_calls": 1}, [TIME, TIME, "No."], "max_tool_calls", 1),
        ({"max_tokens_per_run": 3}, [TIME, "No."], "max_tokens", 0),
    ],
)
async def test_a_run_ends_at_its_cards(
    limits: dict[str, int], answers: list[Any], code: str, made: int
) -> None:
    world = await a_world(*answers, card={"limits": limits})
    run = await world.ask("ceo", "Time?")
    assert run.error is not None
    assert (run.status, run.error.code) == (RunStatus.FAILED, code)
    assert len(world.servers.calls) == made
    assert run.usage.output_tokens > 0


async def test_a_run_within_its_limits_completes() -> None:
    world = await a_world(TIME, "No.", card={"limits": {"max_turns": 2, "max_tool_calls": 1}})
    assert (await world.ask("ceo", "Time?")).status is RunStatus.COMPLETED


async def test_the_next_run_reads_a_history_in_which_every_call_has_its_result() -> None:
    world = await a_world(TIME, TIME, "Hello again.", card={"limits": {"max_turns": 2}})
    await world.ask("ceo", "Time?", conversation_id="c")
    again = await world.ask("ceo", "Hello?", conversation_id="c")
    assert again.output == "Hello again."
    assert seen_by(world, 2) == [
        ("user", "Time?"),
        ("assistant", ""),
        ("tool", "noon in CET"),
        ("assistant", "(This question was not answered: the run ended before.)"),
        ("user", "Hello?"),
    ]


async def test_a_tools_error_goes_to_the_model_and_the_run_goes_on() -> None:
    world = await a_world(Calls(("clock__broken", {})), "What a pity.")
    world.servers.add(
        "clock", ToolSchema(name="broken"), lambda _: ToolOutcome(outcome="error", content="why")
    )
    await world.mcp.services.listing.list_again("clock")
    run = await world.ask("ceo", "Time?", conversation_id="c")
    assert run.output == "What a pity."
    assert (await world.history("c"))[2].content == "error: why"


async def test_a_page_of_messages_ends_before_it_is_too_large() -> None:
    world = await a_world(*[Calls(("clock__show", {}))] * 6, "Done.")
    image = ({"type": "image", "data": "x" * 1_500_000},)
    world.servers.add(
        "clock",
        ToolSchema(name="show"),
        lambda _: ToolOutcome(outcome="ok", content="an image", parts=image),
    )
    await world.mcp.services.listing.list_again("clock")
    await world.ask("ceo", "Show me.", conversation_id="c")
    first = await world.main.services.runs.list_messages("c", owner=None)
    assert first.next is not None
    rest = await world.main.services.runs.list_messages("c", owner=None, start=int(first.next))
    seen = [message.sequence for message in (*first.items, *rest.items)]
    assert seen == list(range(len(seen)))
    assert len(first.items) < 8


async def test_a_small_window_keeps_the_question_and_the_last_turn_whole() -> None:
    world = await a_world(
        "Hello.",
        Calls(*[("clock__now", {"zone": str(n)}) for n in range(3)]),
        "Noon.",
        card={"memory": {"window_messages": 2}},
    )
    await world.ask("ceo", "Hi", conversation_id="c")
    await world.ask("ceo", "Time?", conversation_id="c")
    assert seen_by(world, 2) == [
        ("user", "Time?"),
        ("assistant", ""),
        ("tool", "noon in 0"),
        ("tool", "noon in 1"),
        ("tool", "noon in 2"),
    ]


async def test_a_window_never_begins_with_results_whose_call_is_cut() -> None:
    world = await a_world(TIME, "Noon.", "Bye.", card={"memory": {"window_messages": 2}})
    await world.ask("ceo", "Time?", conversation_id="c")
    await world.ask("ceo", "Bye?", conversation_id="c")
    assert seen_by(world, 2) == [
        ("user", "(Earlier messages are left out.)"),
        ("assistant", "Noon."),
        ("user", "Bye?"),
    ]


async def test_a_server_that_failed_stops_nobody_and_the_model_is_told() -> None:
    world = MemoryWorld(model=ScriptedModel("I do without."))
    world.servers.failing["clock"] = "does not start: boom"
    await world.put_mcp_server(CLOCK, {})
    await world.put_agent(CEO)
    run = await world.ask("ceo", "Time?")
    assert run.output == "I do without."
    call = model_of(world).calls[0]
    assert call.tools == ()
    assert "MCP server 'clock' are not available now" in call.messages[0].content
    assert "boom" not in call.messages[0].content


async def test_a_server_that_does_not_exist_or_is_disabled_is_passed_over() -> None:
    world = await a_world("Fine.", "Fine.", card={"mcp_tools": ["nowhere", "clock"]})
    assert (await world.ask("ceo", "Hello?")).output == "Fine."
    assert len(model_of(world).calls[0].tools) == 2
    await world.put_mcp_server({**CLOCK, "enabled": False}, {})
    assert (await world.ask("ceo", "Hello?")).output == "Fine."
    assert model_of(world).calls[1].tools == ()


async def test_an_agent_whose_tools_are_not_listed_yet_waits_for_them() -> None:
    world = await a_world("Noon.")
    await world.ports.tools.drop("clock")
    run = await world.ask("ceo", "Time?")
    assert run.status is RunStatus.IN_PROGRESS
    await world.mcp.services.listing.follow()
    await world.advance(10)
    run = await world.run(run.run_id)
    assert (run.output, len(model_of(world).calls)) == ("Noon.", 1)


async def test_an_agent_whose_tools_never_come_says_which_server() -> None:
    world = await a_world()
    await world.ports.tools.drop("clock")
    run = await world.ask("ceo", "Time?")
    await world.advance(700)
    run = await world.run(run.run_id)
    assert run.error is not None
    assert (run.status, run.error.code) == (RunStatus.FAILED, "unavailable")
    assert "'clock'" in run.error.message
    assert model_of(world).calls == []


class TestWaiting:
    """What happens while a run waits for its tools."""

    @pytest.fixture
    async def world(self) -> MemoryWorld:
        world = await a_world(TIME, "Late.", "Next.", card={"limits": {"run_timeout_seconds": 60}})
        world.mcp.services.calls.handle = _hang  # type: ignore[method-assign]
        return world

    async def test_the_runs_clock_goes_on_and_ends_it(self, world: MemoryWorld) -> None:
        run = await world.ask("ceo", "Time?", conversation_id="c")
        assert run.status is RunStatus.IN_PROGRESS
        await world.advance(50)
        assert (await world.run(run.run_id)).status is RunStatus.IN_PROGRESS
        await world.advance(20)
        run = await world.run(run.run_id)
        assert run.error is not None
        assert (run.status, run.error.code) == (RunStatus.TIMED_OUT, "run_timeout")
        assert told(await world.history("c"))[2] == (
            "tool",
            "outcome unknown: the run ended before a result of this call came",
        )

    async def test_the_same_continue_run_is_left_for_the_deadline(self, world: MemoryWorld) -> None:
        started = world.clock.now()
        run = await world.ask("ceo", "Time?")
        await world.advance(30)
        looks = world.broker.messages("aos-realm")
        assert len({kept.message_id for kept in looks}) == 1
        assert len(looks) <= 2  # in the last minute a handler may send it again
        for kept in looks:
            assert str(kept.message_id).startswith(f"{run.run_id}:continue:")
            assert timedelta() <= kept.visible_at - started - timedelta(seconds=60) < timedelta(1)

    async def test_a_cancellation_ends_it_and_a_late_result_changes_nothing(
        self, world: MemoryWorld
    ) -> None:
        run = await world.ask("ceo", "Time?", conversation_id="c")
        await _cancel(world, run.run_id)
        ended = await world.run(run.run_id)
        assert (ended.status, ended.error) == (RunStatus.CANCELLED, None)
        history = await world.history("c")
        await world.ports.bus.send(to_realm(_result(run.run_id, "c")))
        await world.settle()
        assert await world.run(run.run_id) == ended
        assert await world.history("c") == history

    async def test_a_disabled_agent_ends_it_at_the_next_step(self, world: MemoryWorld) -> None:
        run = await world.ask("ceo", "Time?", conversation_id="c")
        await world.put_agent({**CEO, "enabled": False})
        await world.ports.bus.send(to_realm(_result(run.run_id, "c")))
        await world.settle()
        run = await world.run(run.run_id)
        assert run.error is not None
        assert run.error.code == "agent_disabled"

    async def test_a_result_is_taken_once_however_often_it_comes(self, world: MemoryWorld) -> None:
        run = await world.ask("ceo", "Time?", conversation_id="c")
        for content in ("first", "second"):
            await world.ports.bus.send(to_realm(_result(run.run_id, "c", content=content)))
        await world.settle()
        assert told(await world.history("c"))[2:] == [("tool", "first"), ("assistant", "Late.")]

    async def test_a_result_of_another_run_or_call_changes_nothing(
        self, world: MemoryWorld
    ) -> None:
        run = await world.ask("ceo", "Time?", conversation_id="c")
        await world.ports.bus.send(to_realm(_result("0" * 36, "c")))
        await world.ports.bus.send(to_realm(_result(run.run_id, "c", turn=7)))
        await world.settle()
        assert (await world.run(run.run_id)).status is RunStatus.IN_PROGRESS

    async def test_the_next_run_waits_behind_it(self, world: MemoryWorld) -> None:
        first = await world.ask("ceo", "Time?", conversation_id="c")
        second = await world.ask("ceo", "Hello?", conversation_id="c")
        assert second.status is RunStatus.QUEUED
        await world.ports.bus.send(to_realm(_result(first.run_id, "c")))
        await world.settle()
        assert (await world.run(second.run_id)).output == "Next."


async def _hang(*_: Any) -> None:
    """mcp loses the call."""


async def _cancel(world: MemoryWorld, run_id: str) -> None:
    from aos.domain.caller import Caller

    await world.main.services.admissions.cancel(run_id, Caller(owner="local"))
    await world.settle()


def _result(
    run_id: str, conversation_id: str, *, content: str = "noon", turn: int = 0
) -> ToolResult:
    return ToolResult(
        run_id=run_id,
        conversation_id=conversation_id,
        tool_call_id=f"call_{run_id[:8]}_{turn}_0",
        outcome="ok",
        content=content,
    )


async def test_a_realm_whose_catalog_is_older_than_the_runs_admission_reads_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await a_world(Calls(("clock__now", {})), "It is noon.", card={"enabled": False})
    behind = CatalogReader(world.data, world.clock)
    await behind.read()

    def now(arguments: Mapping[str, Any]) -> str:
        for method in ("version", "find", "card", "serves"):  # the result comes to another instance
            monkeypatch.setattr(world.realm.services.catalog, method, getattr(behind, method))
        return "noon"

    await world.put_mcp_server(CLOCK, {"now": now})
    await world.put_agent(CEO)
    run = await world.ask("ceo", "What time is it?")
    assert (run.status, run.output) == (RunStatus.COMPLETED, "It is noon.")


async def test_a_turn_after_tools_saves_their_results_with_its_answer() -> None:
    world = await a_world(TIME, "It is noon.")
    written: list[str] = []
    world.tables.watchers.append(lambda operation, key: written.append(operation))
    await world.ask("ceo", "What time is it?", conversation_id="c")
    # the calls, and the results with the answer
    assert written.count("conversations.save") == 2


async def test_the_tools_of_a_new_run_are_read_while_its_conversation_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await a_world(TIME, "It is noon.")
    offered = asyncio.Event()
    load, find = world.ports.conversations.load, world.ports.tools.find

    async def slow_load(*args: Any, **more: Any) -> Any:
        if "run_id" in more:  # as realm reads for a StartRun
            async with asyncio.timeout(2):
                await offered.wait()
        return await load(*args, **more)

    async def noted_find(server_id: str) -> Any:
        offered.set()
        return await find(server_id)

    monkeypatch.setattr(world.ports.conversations, "load", slow_load)
    monkeypatch.setattr(world.ports.tools, "find", noted_find)
    run = await world.ask("ceo", "What time is it?")
    assert run.status is RunStatus.COMPLETED
