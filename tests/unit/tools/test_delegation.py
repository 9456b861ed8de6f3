"""Agents that delegate to others."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from aos.adapters.memory import MemoryLedger
from aos.domain.caller import Caller
from aos.domain.envelope import RequestRun, RunEnded
from aos.domain.runs.run import Run, RunStatus
from aos.errors import RunFailed, TransientError
from aos.ports.ledger import SeenRun
from aos.testing import Answer, Calls, MemoryWorld, ScriptedModel
from tests.unit.tools.worlds import told

LEAD: dict[str, Any] = {
    "agent_id": "lead",
    "agent_type": "LeadershipAgent",
    "purpose": "Lead.",
    "team": ["cfo", "lead", "gone"],
}
CFO = {"agent_id": "cfo", "purpose": "Count."}
ASK = Calls(("delegate", {"agent_id": "cfo", "message": "How much?"}))


async def a_team(*answers: Answer, **lead: Any) -> MemoryWorld:
    """A leader with a team of two."""
    world = MemoryWorld(model=ScriptedModel(*answers))
    await world.put_agent(CFO)
    await world.put_agent({**LEAD, **lead})
    return world


def children(world: MemoryWorld) -> list[str]:
    """The run ids of delegated runs."""
    rows = world.tables.requests.items()
    return [r for r, row in rows if row.request.parent is not None and row.request.refusal is None]


async def test_a_delegated_run_is_a_run_of_its_own_whose_output_is_the_result() -> None:
    world = await a_team(ASK, "Five.", "We have five.")
    run = await world.ask("lead", "How rich are we?", conversation_id="c", owner="ann")
    assert (run.status, run.output) == (RunStatus.COMPLETED, "We have five.")
    assert told(await world.history("c"))[1:3] == [("assistant", ""), ("tool", "Five.")]
    (child_id,) = children(world)
    child = await world.run(child_id, owner="ann")
    assert (child.agent_id, child.output, child.conversation_id) == ("cfo", "Five.", child_id)
    request = world.tables.requests[child_id].request
    assert (request.door, request.owner, request.message) == ("delegation", "ann", "How much?")


async def test_only_a_leader_with_a_team_is_offered_delegation() -> None:
    world = await a_team("a", "b", "c")
    model = world.model
    assert isinstance(model, ScriptedModel)
    await world.ask("lead", "Hello")
    await world.ask("cfo", "Hello")
    (tool,) = model.calls[0].tools
    assert tool.parameters["properties"]["agent_id"]["enum"] == ["cfo", "lead", "gone"]
    assert model.calls[1].tools == ()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"agent_id": "boss", "message": "x"}, "error: agent_id is 'boss'; write one of your"),
        ({"agent_id": "cfo"}, "error: message is missing"),
        ({"agent_id": "cfo", "message": " "}, "error: message is missing"),
        ({"agent_id": "gone", "message": "x"}, "error: the run was refused (agent_not_found)"),
    ],
)
async def test_what_cannot_be_delegated_is_told_to_the_model(
    arguments: dict[str, str], said: str
) -> None:
    world = await a_team(Calls(("delegate", arguments)), "I see.")
    run = await world.ask("lead", "Ask.", conversation_id="c")
    assert run.output == "I see."
    assert told(await world.history("c"))[2][1].startswith(said)
    assert children(world) == []


async def test_a_delegation_that_was_refused_is_not_begun_by_a_repeat_of_its_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask = Calls(("delegate", {"agent_id": "gone", "message": "x"}))
    world = await a_team(ask, "I see.")
    commands: list[RequestRun] = []
    request = world.main.services.delegations.request

    async def noted(command: RequestRun) -> None:
        commands.append(command)
        await request(command)

    monkeypatch.setattr(world.main.services.delegations, "request", noted)
    await world.ask("lead", "Ask.", conversation_id="c")
    await world.put_agent({"agent_id": "gone", "purpose": "Come back."})
    await world.main.services.delegations.request(commands[0])
    await world.advance(120)
    assert children(world) == []
    run = await world.run(commands[0].run_id)
    assert run.status is RunStatus.FAILED
    assert run.error is not None
    assert run.error.code == "agent_not_found"


async def test_a_repeat_of_the_command_for_a_deleted_run_does_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await a_team(ASK, "Five.", "We have five.")
    commands: list[RequestRun] = []
    request = world.main.services.delegations.request

    async def noted(command: RequestRun) -> None:
        commands.append(command)
        await request(command)

    monkeypatch.setattr(world.main.services.delegations, "request", noted)
    await world.ask("lead", "How rich are we?", conversation_id="c", owner="ann")
    (child_id,) = children(world)
    await world.delete_conversation(child_id, owner="ann")
    await request(commands[0])
    assert children(world) == [child_id]


async def test_a_delegated_run_that_fails_is_an_error_to_its_parent() -> None:
    world = await a_team(ASK, RunFailed("model_rejected", "no"), "I see.")
    await world.ask("lead", "Ask.", conversation_id="c")
    assert told(await world.history("c"))[2] == (
        "tool",
        "error: the run of agent 'cfo' ended failed: no",
    )


async def test_a_delegated_run_has_what_is_left_of_its_parents_budget() -> None:
    world = await a_team(
        ASK, "Five.", "Done.", limits={"run_timeout_seconds": 100, "max_tokens_per_run": 1000}
    )
    await world.ask("lead", "Ask.")
    (child_id,) = children(world)
    parent = world.tables.requests[child_id].request.parent
    assert parent is not None
    assert parent.depth == 1
    assert parent.tokens_left is not None
    assert 0 < parent.tokens_left < 1000
    head = world.tables.requests[parent.run_id].request
    assert 0 < (parent.deadline - head.admitted_at).total_seconds() <= 100


async def test_tokens_of_delegated_runs_count_against_the_parents_limit() -> None:
    long = "word " * 300
    world = await a_team(ASK, long, "Done.", limits={"max_tokens_per_run": 300})
    run = await world.ask("lead", "Ask.")
    assert run.error is not None
    assert run.error.code == "max_tokens"


async def test_agents_delegate_at_most_five_levels_deep() -> None:
    again = Calls(("delegate", {"agent_id": "lead", "message": "You do it."}))
    world = await a_team(*[again] * 6, *["No."] * 9)
    run = await world.ask("lead", "Do it.")
    assert run.output == "No."
    depths = [row.request.parent for row in world.tables.requests.values()]
    assert sorted(p.depth for p in depths if p is not None) == [1, 2, 3, 4, 5]


async def test_a_tree_has_at_most_fifty_runs() -> None:
    calls = [("delegate", {"agent_id": "cfo", "message": f"task {n}"}) for n in range(26)]
    world = await a_team(Calls(*calls), *["ok"] * 26, Calls(*calls), *["ok"] * 23, "Done.")
    run = await world.ask("lead", "All.", conversation_id="c")
    assert run.output == "Done."
    results = [text for role, text in told(await world.history("c")) if role == "tool"]
    assert results.count("ok") == 49
    assert sum("tree_limit" in text for text in results) == 3
    assert 1 + len(children(world)) == 50


class TestEnding:
    """What becomes of delegated runs when their parent ends."""

    async def test_they_are_cancelled_with_their_parent(self) -> None:
        world = await a_team(ASK)
        run = await _parent_waits(world)
        await world.main.services.admissions.cancel(run.run_id, Caller(owner="local"))
        world.realm.services.execution.handle = world.real  # type: ignore[attr-defined,method-assign]
        await world.settle()
        (child_id,) = children(world)
        child = await world.run(child_id)
        assert child.error is not None
        assert (child.status, child.error.code) == (RunStatus.CANCELLED, "parent_ended")
        assert (await world.run(run.run_id)).error is None

    async def test_nothing_is_begun_for_a_parent_that_has_ended(self) -> None:
        world, command = await self._asked_for_after_its_parents_end()
        await world.main.services.delegations.request(command)
        await world.settle()
        assert children(world) == []

    async def test_one_whose_parent_ends_while_it_is_admitted_is_cancelled_too(self) -> None:
        world, command = await self._asked_for_after_its_parents_end()
        find_run, looks = world.ports.conversations.find_run, count()

        async def not_ended_at_first(conversation_id: str, run_id: str) -> Run | None:
            return await find_run(conversation_id, run_id) if next(looks) else None

        world.ports.conversations.find_run = not_ended_at_first  # type: ignore[method-assign]
        await world.main.services.delegations.request(command)
        await world.settle()
        (child_id,) = children(world)
        child = await world.run(child_id)
        assert child.error is not None
        assert child.error.code == "parent_ended"

    async def _asked_for_after_its_parents_end(self) -> tuple[MemoryWorld, RequestRun]:
        world = await a_team(ASK, *[TransientError("the model is away")] * 50)
        held: list[RequestRun] = []

        async def hold(command: RequestRun) -> None:
            held.append(command)

        real, world.main.services.delegations.request = (  # type: ignore[method-assign]
            world.main.services.delegations.request,
            hold,
        )
        run = await world.ask("lead", "Ask.")
        await world.main.services.admissions.cancel(run.run_id, Caller(owner="local"))
        await world.settle()
        world.main.services.delegations.request = real  # type: ignore[method-assign]
        return world, held[0]


async def _parent_waits(world: MemoryWorld) -> Run:
    """The parent has delegated, and the run of its child is not begun."""
    world.real = world.realm.services.execution.handle  # type: ignore[attr-defined]
    handled: list[str] = []

    async def handle(command: Any, **more: Any) -> None:
        handled.append(command.run_id)
        if command.run_id == handled[0]:
            await world.real(command)  # type: ignore[attr-defined]

    world.realm.services.execution.handle = handle  # type: ignore[method-assign]
    return await world.ask("lead", "Ask.")


async def test_while_storage_is_away_a_parent_is_not_told_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The simulation found it: each try of the delivery sent one more result."""
    world = await a_team(ASK, "Five.", "Done.")
    run = await world.ask("lead", "Ask.")
    (child_id,) = children(world)
    request = world.tables.requests[child_id].request
    ended = RunEnded.of(request, await world.run(child_id))
    world.tables.seen.pop(child_id)
    waiting = len(world.broker.messages("aos-realm"))

    async def away(ledger: MemoryLedger, run: Run) -> SeenRun | None:
        raise TransientError("storage is away")

    monkeypatch.setattr(MemoryLedger, "find", away)
    for _ in range(3):
        with pytest.raises(TransientError):
            await world.main.services.replies.deliver(ended)
    assert len(world.broker.messages("aos-realm")) == waiting
    assert run.output == "Done."
