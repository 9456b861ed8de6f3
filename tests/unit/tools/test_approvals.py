"""Tool calls that wait for a person."""

from __future__ import annotations

import asyncio
import json

import pytest

from aos.domain.caller import Caller
from aos.domain.runs.run import RunStatus
from aos.domain.tools.tool import ApprovalRequest, Decision
from aos.errors import Refused, StaleWrite, TransientError
from aos.testing import Calls, MemoryWorld
from tests.unit.tools.worlds import a_world, told

GUARDED = {"mcp_tools": [{"server": "clock", "tools": ["set"], "approval": "always"}, "clock/now"]}
ANN = Caller(owner="local")
SET = Calls(("clock__set", {"to": "noon"}))


async def asking(*answers: str | Calls, **limits: int) -> tuple[MemoryWorld, str, str]:
    """A world whose run waits for a decision, the run's id and the call's."""
    world = await a_world(*(answers or (SET, "Done.")), card={**GUARDED, "limits": limits})
    run = await world.ask("ceo", "Set it.", conversation_id="c")
    assert run.status is RunStatus.WAITING_APPROVAL
    return world, run.run_id, f"call_{run.run_id[:8]}_0_0"


async def test_a_call_that_needs_approval_waits_and_is_listed() -> None:
    world, run_id, call_id = await asking()
    (item,) = (await world.waiting_approvals()).items
    assert (item.run_id, item.tool_call_id, item.tool, item.arguments) == (
        run_id,
        call_id,
        "clock/set",
        {"to": "noon"},
    )
    assert (item.expires_at - item.requested_at).total_seconds() == 86400
    assert world.servers.calls == []
    events = [json.loads(kept.body) for kept in world.broker.messages("agent-events")]
    assert [(e["type"], e["data"]["tool_call_id"]) for e in events] == [
        ("approval.requested", call_id)
    ]


async def test_an_approved_call_is_made_and_the_run_goes_on() -> None:
    world, run_id, call_id = await asking()
    run = await world.decide(run_id, call_id, "approve")
    assert (run.status, run.output) == (RunStatus.COMPLETED, "Done.")
    assert [call.tool for call in world.servers.calls] == ["set"]
    assert (await world.waiting_approvals()).items == []


async def test_a_denied_call_is_not_made_and_the_model_reads_why() -> None:
    world, run_id, call_id = await asking()
    run = await world.decide(run_id, call_id, "deny", "Not today.")
    assert run.output == "Done."
    assert world.servers.calls == []
    assert told(await world.history("c"))[2] == ("tool", "denied: Not today.")


async def test_a_decision_is_heard_once() -> None:
    world, run_id, call_id = await asking()
    await world.decide(run_id, call_id, "approve")
    with pytest.raises(Refused) as caught:
        await world.decide(run_id, call_id, "deny")
    assert caught.value.code == "already_decided"


async def test_of_the_same_decision_twice_at_once_one_is_heard() -> None:
    world, run_id, call_id = await asking()
    both = [
        world.main.services.approvals.decide(run_id, call_id, "approve", "", caller=ANN)
        for _ in range(2)
    ]
    ends = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["Decision", "Refused"]


async def test_nobody_deciding_denies_and_the_run_goes_on() -> None:
    world, run_id, call_id = await asking(SET, "Without it.", approval_timeout_seconds=600)
    await world.advance(590)
    assert (await world.run(run_id)).status is RunStatus.WAITING_APPROVAL
    await world.advance(60)
    run = await world.run(run_id)
    assert run.output == "Without it."
    assert told(await world.history("c"))[2] == (
        "tool",
        "denied: nobody decided about this call in time",
    )
    with pytest.raises(Refused) as caught:
        await world.decide(run_id, call_id, "approve")
    assert caught.value.code == "already_decided"


async def test_waiting_for_a_person_stops_the_runs_clock() -> None:
    world, run_id, call_id = await asking(SET, "Done.", run_timeout_seconds=60)
    await world.advance(3600)
    assert (await world.decide(run_id, call_id, "approve")).output == "Done."


async def test_a_decision_before_the_command_that_tells_of_it_is_obeyed_all_the_same() -> None:
    """The row is what counts: the Approve may be lost."""
    world, run_id, _ = await asking()
    decision = Decision(
        decision="approve", reason="", decided_by="local", decided_at=world.clock.now()
    )
    (asked,) = (await world.waiting_approvals()).items
    await world.ports.decisions.answer(asked, decision)
    await world.advance(60)  # the mender nudges
    assert (await world.run(run_id)).output == "Done."


async def test_a_decision_counts_before_realm_has_listed_the_call() -> None:
    """The run's events say that it waits before realm has written what it asks."""
    world = await a_world(SET, "Done.", card=GUARDED)
    real = world.ports.decisions.ask

    async def ask(approval: ApprovalRequest) -> None:
        world.ports.decisions.ask = real  # type: ignore[method-assign]
        decide = world.main.services.approvals.decide
        with pytest.raises(Refused) as caught:
            await decide(approval.run_id, "call_of_nobody", "approve", "", caller=ANN)
        assert caught.value.code == "tool_call_not_found"
        await decide(approval.run_id, approval.tool_call_id, "approve", "", caller=ANN)
        with pytest.raises(Refused) as caught:
            await decide(approval.run_id, approval.tool_call_id, "deny", "", caller=ANN)
        assert caught.value.code == "already_decided"
        await real(approval)

    world.ports.decisions.ask = ask  # type: ignore[method-assign]
    run = await world.ask("ceo", "Set it.", conversation_id="c")
    await world.settle()
    assert (await world.run(run.run_id)).output == "Done."
    assert [call.tool for call in world.servers.calls] == ["set"]
    assert (await world.waiting_approvals()).items == []


async def test_a_decision_that_cannot_be_told_makes_the_mender_look_at_once() -> None:
    world, run_id, call_id = await asking()
    real = world.ports.bus.send

    async def away(outgoing: object) -> None:
        raise TransientError("the bus is away")

    world.ports.bus.send = away  # type: ignore[method-assign]
    await world.decide(run_id, call_id, "approve")
    world.ports.bus.send = real  # type: ignore[method-assign]
    await world.advance(1)
    assert (await world.run(run_id)).output == "Done."


async def test_whose_decision_comes_second_obeys_the_first() -> None:
    """A person decides in the moment in which realm would decide that nobody did."""
    world, run_id, _ = await asking(SET, "Done.", approval_timeout_seconds=600)
    real = world.ports.decisions.answer

    async def decide(asked: ApprovalRequest, decision: Decision) -> None:
        by_ann = Decision(
            decision="approve", reason="", decided_by="ann", decided_at=world.clock.now()
        )
        await real(asked, by_ann)
        raise StaleWrite("decided")

    world.ports.decisions.answer = decide  # type: ignore[method-assign]
    await world.advance(660)
    assert (await world.run(run_id)).output == "Done."
    assert [call.tool for call in world.servers.calls] == ["set"]


async def test_other_calls_of_the_turn_do_not_wait() -> None:
    world, run_id, call_id = await asking(
        Calls(("clock__set", {}), ("clock__now", {"zone": "a"})), "Both."
    )
    assert [call.tool for call in world.servers.calls] == ["now"]
    run = await world.decide(run_id, call_id, "approve")
    assert run.output == "Both."
    assert [text for role, text in told(await world.history("c")) if role == "tool"] == [
        "",
        "noon in a",
    ]


async def test_a_cancelled_run_waits_for_nobody() -> None:
    world, run_id, call_id = await asking()
    await world.main.services.admissions.cancel(run_id, Caller(owner="local"))
    await world.settle()
    assert (await world.run(run_id)).status is RunStatus.CANCELLED
    assert (await world.waiting_approvals()).items == []
    with pytest.raises(Refused) as caught:
        await world.decide(run_id, call_id, "approve")
    assert caught.value.code == "already_decided"
    assert told(await world.history("c"))[2] == (
        "tool",
        "not called: the run ended before anybody had decided about this call",
    )


async def test_a_decision_for_a_disabled_agent_ends_its_run() -> None:
    world, run_id, call_id = await asking()
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead.", **GUARDED, "enabled": False})
    run = await world.decide(run_id, call_id, "approve")
    assert run.error is not None
    assert run.error.code == "agent_disabled"
    assert world.servers.calls == []


@pytest.mark.parametrize(
    ("caller", "allowed"),
    [
        (Caller(owner="local"), True),
        (Caller(owner="bob"), False),
        (Caller(owner="bob", is_admin=True), True),
        (Caller(owner="bob", is_approver=True), True),
    ],
    ids=["the owner", "somebody", "an admin", "an approver"],
)
async def test_the_owner_and_those_with_the_role_may_decide(caller: Caller, allowed: bool) -> None:
    world, run_id, call_id = await asking()
    page = await world.main.services.approvals.list_waiting(caller, after=None, limit=10)
    assert len(page.items) == int(allowed)
    if allowed:
        await world.main.services.approvals.decide(run_id, call_id, "approve", "", caller=caller)
        return
    with pytest.raises(Refused) as caught:
        await world.main.services.approvals.decide(run_id, call_id, "approve", "", caller=caller)
    assert caught.value.code == "run_not_found"


async def test_a_call_that_asked_nobody_cannot_be_decided() -> None:
    world, run_id, _ = await asking()
    with pytest.raises(Refused) as caught:
        await world.decide(run_id, f"call_{run_id[:8]}_9_9", "approve")
    assert caught.value.code == "tool_call_not_found"
