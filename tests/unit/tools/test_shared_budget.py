"""What a run may spend binds its first turn, its delegated runs, and all of them together."""

from __future__ import annotations

from aos.domain.runs.run import RunStatus, Usage
from aos.testing import Calls, ScriptedModel
from tests.unit.tools.test_delegation import LEAD, a_team

BOTH = Calls(
    ("delegate", {"agent_id": "cfo", "message": "One?"}),
    ("delegate", {"agent_id": "cfo", "message": "Two?"}),
)


async def test_the_model_is_told_what_the_run_may_still_spend() -> None:
    world = await a_team("Done.", limits={"max_tokens_per_run": 5})
    await world.ask("lead", "Hi")
    assert isinstance(world.model, ScriptedModel)
    assert world.model.calls[0].output_tokens == 5


async def test_a_run_without_a_limit_names_none() -> None:
    world = await a_team("Done.")
    await world.ask("lead", "Hi")
    assert isinstance(world.model, ScriptedModel)
    assert world.model.calls[0].output_tokens is None


async def test_parallel_children_share_what_their_parent_has_left() -> None:
    world = await a_team(BOTH, limits={"max_tokens_per_run": 1000})
    await world.ask("lead", "Ask both.")
    shares = [
        stored.request.parent.tokens_left
        for stored in world.tables.requests.values()
        if stored.request.parent is not None
    ]
    (parent,) = [stored for stored in world.tables.requests.values() if not stored.request.parent]
    turns = (await world.run(parent.request.run_id)).turns
    first = turns[0]
    left = 1000 - first.input_tokens - first.output_tokens
    assert shares == [left // 2] * 2


async def test_a_child_of_a_parent_with_nothing_left_asks_no_model() -> None:
    world = await a_team(BOTH, limits={"max_tokens_per_run": 10_000})
    await world.ask("lead", "Ask both.")
    assert isinstance(world.model, ScriptedModel)
    made = len(world.model.calls)
    world.model.then(lambda call: BOTH)
    limits = {"max_tokens_per_run": spent_by_first_turn(world.model) + 1}
    await world.put_agent({**LEAD, "limits": limits})
    run = await world.ask("lead", "Ask both.")
    assert len(world.model.calls) == made + 2  # the parent's two turns
    for child_id in run.child_run_ids:
        child = await world.run(child_id)
        assert child.error is not None
        assert (child.status, child.error.code) == (RunStatus.FAILED, "max_tokens")


def spent_by_first_turn(model: ScriptedModel) -> int:
    call = model.calls[0]
    return sum(len(message.content.split()) for message in call.messages) + len(BOTH.asked)


async def test_a_parent_shows_what_its_children_used_beside_its_own() -> None:
    world = await a_team(BOTH, "Five.", "Six six.", "Done.")
    run = await world.ask("lead", "Ask both.")
    children = [
        await world.run(stored.request.run_id)
        for stored in world.tables.requests.values()
        if stored.request.parent is not None
    ]
    assert len(children) == 2
    assert run.children_usage == children[0].usage + children[1].usage
    assert run.children_usage != Usage()
    assert run.tree_usage.total_tokens == run.usage.total_tokens + sum(
        child.usage.total_tokens for child in children
    )
