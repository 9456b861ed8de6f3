"""What a request asks of its own run beside the message: instructions, a schema, a limit, and what
was said before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import pytest

from aos.adapters.memory import MemoryToolServers
from aos.domain.caller import Caller
from aos.domain.runs.run import Run, RunStatus, Usage
from aos.domain.runs.run_events import EventId
from aos.domain.runs.run_options import MAX_HISTORY, ClientTool, RunOptions, SaidBefore
from aos.domain.tools.tool import AskedCall
from aos.errors import OutcomeUnknown, Refused, TransientError
from aos.ports.model import ModelAnswer, ModelCall
from aos.services.admission import RunRequest
from aos.testing import Calls, MemoryWorld
from aos.testing.adapters import make_world
from tests.unit.tools.worlds import CEO, CLOCK, noon

T = TypeVar("T")
CARD = {"agent_id": "ceo", "purpose": "Lead the company."}
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
}
BEFORE = (
    SaidBefore(role="user", content="Buy or sell?"),
    SaidBefore(role="assistant", content="Sell."),
)


@pytest.fixture
async def world() -> MemoryWorld:
    world = MemoryWorld()
    await world.put_agent(CARD)
    return world


async def ask(
    world: MemoryWorld, options: RunOptions, *, message: str = "Why?", key: str | None = None
) -> Run:
    admission = await world.main.services.admissions.admit(
        RunRequest(agent_id="ceo", message=message, options=options),
        door="http",
        scope="http:local",
        key=key,
        caller=Caller(owner="local"),
    )
    await world.settle()
    return await world.run(admission.run.run_id)


async def read(world: MemoryWorld, conversation_id: str) -> list[tuple[str, str]]:
    page = await world.main.services.runs.list_messages(conversation_id, owner="local")
    return [(message.role, message.content) for message in page.items]


def shown(world: MemoryWorld, call: int = -1) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in world.model.calls[call].messages if m.role != "system"]


async def test_the_model_reads_what_was_said_before_and_the_conversation_keeps_it(
    world: MemoryWorld,
) -> None:
    run = await ask(world, RunOptions(history=BEFORE))
    said = [("user", "Buy or sell?"), ("assistant", "Sell."), ("user", "Why?")]
    assert shown(world) == said
    assert await read(world, run.conversation_id) == [*said, ("assistant", "answer 1")]
    page = await world.main.services.runs.list_messages(run.conversation_id, owner="local")
    assert [m.sequence for m in page.items] == [0, 1, 2, 3]
    assert [m.run_id for m in page.items] == ["", "", run.run_id, run.run_id]
    later = await world.ask("ceo", "And now?", conversation_id=run.conversation_id)
    assert later.status is RunStatus.COMPLETED
    assert shown(world) == [*said, ("assistant", "answer 1"), ("user", "And now?")]


async def test_the_events_tell_the_answer_and_not_what_was_said_before(world: MemoryWorld) -> None:
    run = await ask(world, RunOptions(history=BEFORE))
    request = await world.main.services.runs.find_request(run.run_id, owner="local")

    page = await world.main.services.run_events.page(request, after=EventId(), limit=100)
    told = [e.data["content"] for e in page.items if e.type == "message.completed"]
    assert told == ["answer 1"]


async def test_the_longest_history_is_saved_with_as_many_tool_calls(world: MemoryWorld) -> None:
    await world.put_mcp_server(CLOCK, {"now": noon})
    await world.put_agent(CEO)
    world.model.then(Calls(*[("clock__now", {"n": n}) for n in range(3)]), "Bought.")
    history = tuple(SaidBefore(role="user", content=f"{n}") for n in range(MAX_HISTORY))
    run = await ask(world, RunOptions(history=history))
    assert run.status is RunStatus.COMPLETED
    assert len(await read(world, run.conversation_id)) == MAX_HISTORY + 1 + 1 + 3 + 1


async def test_instructions_are_read_with_the_question_and_are_not_in_the_history(
    world: MemoryWorld,
) -> None:
    run = await ask(world, RunOptions(instructions="Be brief."))
    assert shown(world) == [("user", "Instructions for this answer:\nBe brief.\n\nWhy?")]
    assert await read(world, run.conversation_id) == [("user", "Why?"), ("assistant", "answer 1")]
    await world.ask("ceo", "Next?", conversation_id=run.conversation_id)
    assert shown(world)[0] == ("user", "Why?")


async def test_a_schema_of_the_request_counts_before_the_cards(world: MemoryWorld) -> None:
    world.model.then("Sell.", '{"answer": "Sell."}')
    run = await ask(world, RunOptions(output_schema=SCHEMA))
    assert run.output_parts == ({"type": "data", "data": {"answer": "Sell."}},)
    assert world.model.calls[0].response_schema == SCHEMA
    assert "It must fit this JSON Schema" in world.model.calls[0].messages[0].content


async def test_the_limit_of_tokens_is_of_the_whole_run(world: MemoryWorld) -> None:
    await ask(world, RunOptions(max_output_tokens=5))
    assert world.model.calls[0].output_tokens == 5


async def test_other_options_are_another_request(world: MemoryWorld) -> None:
    options = RunOptions(instructions="Be brief.")
    first = await ask(world, options, key="k")
    assert (await ask(world, options, key="k")).run_id == first.run_id
    with pytest.raises(Refused, match="another request"):
        await ask(world, replace(options, instructions="Be long."), key="k")


async def test_a_replay_has_the_options(world: MemoryWorld) -> None:
    run = await ask(world, RunOptions(instructions="Be brief.", history=BEFORE))
    await world.main.services.replays.replay(run.run_id, owner="local")
    await world.settle()
    assert shown(world, 1) == shown(world, 0)


class Dying:
    """Fails one call of storage or the bus: before it took effect, or after."""

    def __init__(self, *, takes_effect: bool) -> None:
        self.calls = 0
        self.fails_at = 0
        self._takes_effect = takes_effect

    async def __call__(self, operation: str, key: str, act: Callable[[], T]) -> T:
        self.calls += 1
        if self.calls != self.fails_at:
            return act()
        if self._takes_effect:
            act()
        raise OutcomeUnknown(f"{operation} of {key}: the process died")


async def a_world_that_dies(dying: Dying) -> MemoryWorld:
    world = MemoryWorld()
    world.ports = make_world(
        tables=world.tables,
        broker=world.broker,
        config=world.config,
        data=world.data,
        logs=world.logs,
        model=world.model,
        clock=world.clock,
        ids=world.ids,
        servers=MemoryToolServers(world.servers),
        intercept=dying,
    )
    await world.put_agent(CARD)
    return world


@pytest.mark.parametrize("takes_effect", [False, True])
async def test_what_was_said_before_is_in_the_history_once_whatever_call_fails(
    takes_effect: bool,
) -> None:
    for fails_at in range(1, 100):
        dying = Dying(takes_effect=takes_effect)
        world = await a_world_that_dies(dying)
        dying.calls, dying.fails_at = 0, fails_at
        options = RunOptions(history=BEFORE, instructions="Be brief.")
        try:
            run = await ask(world, options, key="k")
        except TransientError:
            run = await ask(world, options, key="k")
        if dying.calls < fails_at:
            break
        await world.advance(600)
        run = await world.run(run.run_id)
        assert run.status is RunStatus.COMPLETED, fails_at
        said = [("user", "Buy or sell?"), ("assistant", "Sell."), ("user", "Why?")]
        assert (await read(world, run.conversation_id))[:3] == said, fails_at
        assert len(await read(world, run.conversation_id)) == 4, fails_at
    assert fails_at > 15


async def call_then_tell(call: ModelCall) -> ModelAnswer:
    """The model calls the application's tool, then says what it told."""
    last = call.messages[-1]
    if last.role == "tool":
        return ModelAnswer(text=f"In {last.content}.", model="m", usage=Usage())
    asked = AskedCall(name="get_place", arguments="{}")
    return ModelAnswer(text="", model="m", usage=Usage(), tool_calls=(asked,))


@pytest.mark.parametrize("takes_effect", [False, True])
async def test_the_applications_result_counts_once_whatever_call_fails(takes_effect: bool) -> None:
    for fails_at in range(1, 200):
        dying = Dying(takes_effect=takes_effect)
        world = await a_world_that_dies(dying)
        world.model.complete = call_then_tell  # type: ignore[method-assign]
        dying.calls, dying.fails_at = 0, fails_at
        run, said = await again(partial(ask_and_answer, world))
        if dying.calls < fails_at:
            break
        assert run.status is RunStatus.COMPLETED, fails_at
        told = [("user", "Why?"), ("assistant", ""), ("tool", "Rome"), ("assistant", "In Rome.")]
        assert said == told, fails_at
    assert fails_at > 25


async def ask_and_answer(world: MemoryWorld) -> tuple[Run, list[tuple[str, str]]]:
    """Ask with a tool of the application, give its result, and let everything happen."""
    run = await ask(world, RunOptions(tools=(ClientTool(name="get_place"),)), key="k")
    await world.advance(600)
    run = await world.run(run.run_id)
    if run.waiting is not None:
        await world.main.services.questions.answer(
            run.run_id,
            run.waiting.tool_call_ids[0],
            "accept",
            {"result": "Rome"},
            caller=Caller(owner="local"),
            answer_id="a",
        )
        await world.settle()
        await world.advance(600)
    return await world.run(run.run_id), await read(world, run.conversation_id)


async def again(act: Callable[[], Awaitable[T]]) -> T:
    """Do it, and once more where it failed, as clients do."""
    try:
        return await act()
    except TransientError:
        return await act()
