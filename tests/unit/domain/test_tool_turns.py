"""The clocks and the wake-ups of a run that waits for tools and for people."""

from __future__ import annotations

from datetime import datetime, timedelta

from aos.domain.cards.agent_card import AgentLimits
from aos.domain.envelope import CallTool, ContinueRun
from aos.domain.runs import advance, tool_turns
from aos.domain.runs.active_run import ActiveRun, CallState, OpenCall
from aos.domain.runs.conversation import Conversation, Step
from aos.domain.runs.run import Usage
from aos.domain.tools.tool import Decision, ToolOutcome
from tests.unit.domain.values import CARD, NOON, a_request

FIRST = a_request("first")
LIMITS = AgentLimits(
    max_turns=8, max_tool_calls=8, run_timeout_seconds=60, approval_timeout_seconds=600
)
OK = ToolOutcome(outcome="ok", content="fine")


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def a_call(index: int, state: CallState = "called") -> OpenCall:
    return OpenCall(
        tool_call_id=f"call_{index}",
        name="a__b",
        written="{}",
        state=state,
        server_id="a",
        tool="b",
    )


def asking(*calls: OpenCall) -> Conversation:
    """A conversation whose run asked for these calls at noon; CARD gives it 60 s."""
    state = advance.admit(None, FIRST, known=False, now=NOON).conversation
    state = advance.start_next(state, CARD, now=NOON).conversation
    step = tool_turns.call_tools(
        state, text="", calls=calls, usage=Usage(), model="m", seconds=10.0, limits=LIMITS, now=NOON
    )
    return step.conversation


def active(state: Conversation) -> ActiveRun:
    assert state.active is not None
    return state.active


def answered(state: Conversation, index: int, *, now: datetime) -> Conversation:
    return tool_turns.take_result(
        state, run_id=FIRST.run_id, tool_call_id=f"call_{index}", result=OK, now=now
    ).conversation


def approved(state: Conversation, index: int, *, now: datetime) -> Conversation:
    decision = Decision(decision="approve", reason="", decided_by="ann", decided_at=now)
    return tool_turns.take_decision(
        state, tool_call_id=f"call_{index}", decision=decision, now=now
    ).conversation


def test_waiting_for_tools_is_in_the_clock() -> None:
    state = answered(asking(a_call(0)), 0, now=at(20))
    assert active(state).clock_seconds == 30.0
    assert active(state).waiting_since is None
    assert advance.find_next_action(state, now=at(1000)).what == "turn"


def test_waiting_for_people_is_not() -> None:
    state = asking(a_call(0, "to_ask"))
    assert advance.find_next_action(state, now=at(500)).what == "tools"
    state = approved(state, 0, now=at(500))
    assert (active(state).clock_seconds, active(state).approval_seconds) == (10.0, 500.0)
    assert advance.find_next_action(state, now=at(549)).what == "tools"
    assert advance.find_next_action(state, now=at(550)).what == "time_out"


def test_a_call_that_is_out_runs_the_clock_though_a_person_is_waited_for_too() -> None:
    state = asking(a_call(0), a_call(1, "to_ask"))
    assert advance.find_next_action(state, now=at(50)).what == "time_out"
    state = answered(state, 0, now=at(30))
    assert active(state).clock_seconds == 40.0
    assert advance.find_next_action(state, now=at(400)).what == "tools"


def test_an_approved_call_may_take_what_is_left_of_the_clock() -> None:
    state = approved(asking(a_call(0, "to_ask")), 0, now=at(300))
    (command,) = [o.command for o in state.outbox if isinstance(o.command, CallTool)]
    assert command.deadline == at(350)


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    state = answered(asking(a_call(0)), 0, now=at(-5))
    assert active(state).clock_seconds == 10.0


def wakes(step: Step) -> list[datetime | None]:
    return [o.scheduled_at for o in step.conversation.outbox if isinstance(o.command, ContinueRun)]


def test_one_wake_up_is_left_for_the_earliest_deadline() -> None:
    step = tool_turns.schedule_deadline(asking(a_call(0), a_call(1, "to_ask")))
    assert wakes(step) == [at(50)]
    assert tool_turns.schedule_deadline(step.conversation) == Step(conversation=step.conversation)


def test_a_wake_up_that_comes_in_time_serves_a_later_deadline_too() -> None:
    state = tool_turns.schedule_deadline(asking(a_call(0), a_call(1, "to_ask"))).conversation
    state = answered(state, 0, now=at(30))
    step = tool_turns.schedule_deadline(state)
    assert wakes(step) == [at(50)]
    command = next(o.command for o in state.outbox if isinstance(o.command, ContinueRun))
    woken = advance.clear_wait(state, command).conversation
    assert wakes(tool_turns.schedule_deadline(woken)) == [at(50), at(600)]


def test_a_result_after_the_last_one_changes_nothing() -> None:
    state = answered(asking(a_call(0)), 0, now=at(1))
    again = tool_turns.take_result(
        state, run_id=FIRST.run_id, tool_call_id="call_0", result=OK, now=at(2)
    )
    assert again == Step(conversation=state)


def test_a_decision_about_a_call_that_waits_for_nobody_changes_nothing() -> None:
    state = asking(a_call(0))
    decision = Decision(decision="deny", reason="", decided_by="ann", decided_at=NOON)
    step = tool_turns.take_decision(state, tool_call_id="call_0", decision=decision, now=NOON)
    assert step == Step(conversation=state)


def test_a_turn_holds_so_much_of_what_is_no_text_and_says_what_it_left_out() -> None:
    image = ({"type": "image", "data": "x" * 1_500_000},)
    state = asking(a_call(0), a_call(1), a_call(2))
    for index in (0, 1):
        result = ToolOutcome(outcome="ok", content="an image", parts=image)
        state = tool_turns.take_result(
            state,
            run_id=FIRST.run_id,
            tool_call_id=f"call_{index}",
            result=result,
            now=at(1),
        ).conversation
    first, second, _ = (call.result for call in active(state).calls)
    assert first is not None
    assert second is not None
    assert (first.parts, second.parts) == (image, ())
    assert "not kept" in second.content
