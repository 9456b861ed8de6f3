"""Daily budgets of agents and owners: refused at admission, held between turns."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from aos.domain.budgets import MOST_OPEN_TURNS, DaySpending
from aos.domain.runs.run import RunStatus, Usage
from aos.errors import OutcomeUnknown, Refused, SessionLost
from aos.ports.model import ModelAnswer, ModelCall
from aos.testing import MemoryWorld

TURN = 30
"""The tokens of each answer."""


class Counting:
    """A model that counts as its endpoint does, and answers with what it is told to."""

    def __init__(self, answers: Sequence[ModelAnswer] = ()) -> None:
        self.answers = list(answers)
        self.tokens = 0
        self.calls: list[ModelCall] = []
        self.before_answer: Any = None

    def is_configured(self) -> bool:
        return True

    async def list_served(self) -> frozenset[str]:
        return frozenset({"m"})

    async def complete(self, call: ModelCall) -> ModelAnswer:
        self.calls.append(call)
        await asyncio.sleep(0)
        if self.before_answer is not None:
            await self.before_answer()
        self.tokens += TURN
        usage = Usage(input_tokens=TURN - 10, output_tokens=10)
        return ModelAnswer(text=f"answer {len(self.calls)}", usage=usage, model="m")


async def make_world(cap: int | None, *, owner_cap: int | None = None) -> MemoryWorld:
    settings = {} if owner_cap is None else {"AOS_OWNER_TOKENS_PER_DAY": str(owner_cap)}
    world = MemoryWorld(model=Counting(), settings=settings)
    await put(world, cap)
    return world


async def put(world: MemoryWorld, cap: int | None, agent_id: str = "ceo") -> dict[str, Any]:
    limits = {} if cap is None else {"limits": {"max_tokens_per_day": cap}}
    return await world.put_agent({"agent_id": agent_id, "purpose": "Lead.", **limits})


def spending(world: MemoryWorld, account: str = "ceo") -> DaySpending:
    return next(row.spending for key, row in world.tables.spending.items() if key[0] == account)


async def test_a_card_with_a_budget_has_no_warning() -> None:
    world = await make_world(100)
    assert (await put(world, 100))["warnings"] == []


async def test_a_spent_budget_refuses_and_says_what_was_spent_and_when_it_resets() -> None:
    world = await make_world(2 * TURN)
    for _ in range(2):
        assert (await world.ask("ceo", "Hi")).status is RunStatus.COMPLETED
    with pytest.raises(Refused) as refused:
        await world.ask("ceo", "Hi")
    error = refused.value.info
    assert error.code == "budget_spent"
    day = world.clock.now().date() + timedelta(days=1)
    assert error.details == {
        "budget": "agent",
        "spent": 2 * TURN,
        "limit": 2 * TURN,
        "resets_at": f"{day}T00:00:00.000Z",
    }
    assert "max_tokens_per_day" in error.message
    assert len(world.tables.requests) == 2


async def test_a_budget_begins_anew_at_midnight_utc() -> None:
    world = await make_world(TURN)
    await world.ask("ceo", "Hi")
    with pytest.raises(Refused):
        await world.ask("ceo", "Hi")
    world.clock.advance(86_400)
    assert (await world.ask("ceo", "Hi")).status is RunStatus.COMPLETED


async def test_a_budget_that_is_raised_holds_at_once() -> None:
    world = await make_world(TURN)
    await world.ask("ceo", "Hi")
    with pytest.raises(Refused):
        await world.ask("ceo", "Hi")
    await put(world, 2 * TURN)
    assert (await world.ask("ceo", "Hi")).status is RunStatus.COMPLETED


async def test_twenty_runs_at_once_stop_within_one_turn_of_the_budget() -> None:
    """All are admitted before the first one has spent anything."""
    world = await make_world(5 * TURN)
    starts = [world.main.services.admissions.admit] * 20
    admitted = await asyncio.gather(*(admit_one(world, n) for n, _ in enumerate(starts)))
    await world.settle()
    runs = [await world.run(run_id) for run_id in admitted]
    done = [run for run in runs if run.status is RunStatus.COMPLETED]
    codes = {run.error.code for run in runs if run.error is not None}
    assert (len(done), codes) == (5, {"budget_spent"})
    assert spending(world) == DaySpending(tokens=5 * TURN, turns=5)


async def admit_one(world: MemoryWorld, number: int) -> str:
    from aos.domain.caller import Caller
    from aos.services.admission import RunRequest

    admission = await world.main.services.admissions.admit(
        RunRequest(agent_id="ceo", message=f"{number}?"),
        door="http",
        scope="http:local",
        key=str(number),
        caller=Caller(owner="local"),
    )
    return admission.run.run_id


async def test_an_owners_budget_holds_for_all_agents_and_for_nobody_else() -> None:
    world = await make_world(None, owner_cap=2 * TURN)
    await put(world, None, "cfo")
    await world.ask("ceo", "Hi", owner="ann")
    await world.ask("cfo", "Hi", owner="ann")
    with pytest.raises(Refused) as refused:
        await world.ask("ceo", "Hi", owner="ann")
    assert refused.value.info.details["budget"] == "owner"
    assert "AOS_OWNER_TOKENS_PER_DAY" in refused.value.info.message
    assert (await world.ask("ceo", "Hi", owner="bob")).status is RunStatus.COMPLETED


async def test_a_turn_that_the_owner_may_not_take_is_not_left_open_at_the_agent() -> None:
    world = await make_world(100 * TURN, owner_cap=TURN)
    first, second = [await admit_one(world, number) for number in range(2)]
    await world.settle()
    assert (await world.run(first)).status is RunStatus.COMPLETED
    assert (await world.run(second)).status is RunStatus.FAILED
    assert spending(world).open_turns == {}
    assert spending(world).tokens == TURN


async def test_agents_without_a_budget_write_no_row() -> None:
    world = await make_world(None)
    await world.ask("ceo", "Hi")
    assert world.tables.spending == {}


async def test_a_write_whose_answer_was_lost_counts_once() -> None:
    world = await make_world(10 * TURN)
    store = world.ports.spending
    write, lost = store.write, []

    async def write_and_lose(*args: Any, **more: Any) -> str:
        etag = await write(*args, **more)
        if len(lost) < 2:
            lost.append(args)
            raise OutcomeUnknown("no answer")
        return etag

    store.write = write_and_lose  # type: ignore[method-assign]
    run = asyncio.create_task(world.ask("ceo", "Hi"))
    for _ in range(2000):
        if run.done():
            break
        world.clock.advance(0.1)
        await asyncio.sleep(0)
    assert (await run).status is RunStatus.COMPLETED
    assert spending(world) == DaySpending(tokens=TURN, turns=1)


async def test_a_turn_whose_realm_died_is_known_to_be_lost() -> None:
    world = await make_world(10 * TURN)
    model = world.model
    assert isinstance(model, Counting)
    died = []

    async def die_once() -> None:
        if not died:
            died.append(True)
            model.tokens += TURN  # the endpoint counts what nobody reads
            raise SessionLost("killed")

    model.before_answer = die_once
    run = await world.ask("ceo", "Hi")
    assert run.status is RunStatus.COMPLETED
    kept = spending(world)
    assert (kept.tokens, kept.lost_turns, kept.open_turns) == (TURN, 1, {})
    assert model.tokens == kept.tokens + TURN * kept.lost_turns


def test_a_turn_taken_for_lost_whose_answer_comes_is_counted_and_not_lost() -> None:
    row = DaySpending().open_turn("r", "t-1").open_turn("r", "t-2")
    assert row.lost_turns == 1
    late = row.close_turn("r", "t-1", tokens=7, lost=False, repeated=False)
    assert (late.tokens, late.lost_turns, late.open_turns) == (7, 0, {"r": "t-2"})


def test_a_turn_that_ends_without_its_answer_is_lost_once() -> None:
    row = DaySpending(tokens=5).open_turn("r", "t-1")
    closed = row.close_turn("r", "t-1", tokens=0, lost=True, repeated=False)
    assert closed == DaySpending(tokens=5, turns=1, lost_turns=1)
    assert closed.close_turn("r", "t-1", tokens=0, lost=True, repeated=True) == closed


def test_a_turn_that_is_entered_again_is_not_lost() -> None:
    row = DaySpending().open_turn("r", "t-1")
    assert row.open_turn("r", "t-1") == row


def test_of_too_many_open_turns_the_oldest_are_lost_until_their_answers_come() -> None:
    row = DaySpending()
    for number in range(MOST_OPEN_TURNS + 3):
        row = row.open_turn(f"r-{number}", "t")
    assert (len(row.open_turns), row.lost_turns) == (MOST_OPEN_TURNS, 3)
    for number in range(MOST_OPEN_TURNS + 3):
        row = row.close_turn(f"r-{number}", "t", tokens=2, lost=False, repeated=False)
    turns = MOST_OPEN_TURNS + 3
    assert row == DaySpending(tokens=2 * turns, turns=turns)
