"""Questions that tools ask people."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from aos.domain.caller import Caller
from aos.domain.envelope import ToolResult, to_realm
from aos.domain.runs.run import RunStatus
from aos.domain.tools.questions import (
    MAX_QUESTIONS,
    CallPause,
    CallResume,
    GivenAnswer,
    QuestionAnswer,
    ToolQuestion,
)
from aos.domain.tools.tool import ToolOutcome, ToolSchema
from aos.errors import Refused, StaleWrite, TransientError
from aos.testing import Ask, Calls, MemoryWorld, ScriptedModel
from tests.unit.tools.worlds import CEO, CLOCK, told

ANN = Caller(owner="local")
SEAT = {
    "type": "object",
    "properties": {"seat": {"type": "string", "maxLength": 3}},
    "required": ["seat"],
}
SET = Calls(("clock__set", {"to": "noon"}))


def which_seat(arguments: Mapping[str, Any]) -> Ask:
    """A tool that asks for a seat, and says what it was told."""

    def then(answer: GivenAnswer) -> str:
        values = answer.values or {}
        return f"{answer.action}: {values.get('seat')} at {arguments['to']}"

    return Ask("Which seat?", then, schema=SEAT)


def two_questions(arguments: Mapping[str, Any]) -> Ask:
    """A tool that asks twice."""

    def second(first: GivenAnswer) -> Ask:
        return Ask("Sure?", lambda answer: f"{first.action}, {answer.action}")

    return Ask("Begin?", second)


async def asking(tool: Any = which_seat, *answers: str | Calls) -> tuple[MemoryWorld, str, str]:
    """A world whose run waits for an answer, the run's id and the question's."""
    world = MemoryWorld(model=ScriptedModel(*(answers or (SET, "Done."))))
    await world.put_mcp_server(CLOCK, {"set": tool})
    await world.put_agent(CEO)
    run = await world.ask("ceo", "Set it.", conversation_id="c")
    assert run.status is RunStatus.WAITING_INPUT
    return world, run.run_id, f"call_{run.run_id[:8]}_0_0"


async def test_a_question_is_listed_and_published_without_its_words() -> None:
    world, run_id, question_id = await asking()
    (item,) = (await world.waiting_questions()).items
    assert (item.run_id, item.question_id, item.tool_call_id) == (run_id, question_id, question_id)
    assert (item.tool, item.message, item.requested_schema) == ("clock/set", "Which seat?", SEAT)
    assert (item.expires_at - item.requested_at).total_seconds() == 86400
    (event,) = [json.loads(kept.body) for kept in world.broker.messages("agent-events")]
    assert (event["type"], event["data"]["question_id"]) == ("input.requested", question_id)
    assert "seat" not in json.dumps(event)


async def test_the_tool_gets_the_answer_and_the_run_goes_on() -> None:
    world, run_id, question_id = await asking()
    run = await world.answer(run_id, question_id, {"seat": "12A"})
    assert (run.status, run.output) == (RunStatus.COMPLETED, "Done.")
    assert told(await world.history("c"))[2] == ("tool", "accept: 12A at noon")
    assert len(world.servers.calls) == 2
    assert (await world.waiting_questions()).items == []
    assert world.tables.pending == {}


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_the_tool_is_told_that_a_person_did_not_answer(action: Any) -> None:
    world, run_id, question_id = await asking()
    await world.answer(run_id, question_id, action=action)
    assert told(await world.history("c"))[2] == ("tool", f"{action}: None at noon")


async def test_several_questions_of_one_call_have_ids_of_their_own() -> None:
    world, run_id, question_id = await asking(two_questions)
    run = await world.answer(run_id, question_id)
    assert run.status is RunStatus.WAITING_INPUT
    (item,) = (await world.waiting_questions()).items
    assert (item.question_id, item.tool_call_id) == (f"{question_id}.2", question_id)
    with pytest.raises(Refused) as caught:
        await world.answer(run_id, question_id)
    assert caught.value.code == "already_answered"
    run = await world.answer(run_id, f"{question_id}.2", action="decline")
    assert run.status is RunStatus.COMPLETED
    assert told(await world.history("c"))[2] == ("tool", "accept, decline")


async def test_a_tool_that_asks_without_end_is_stopped() -> None:
    def again(answer: object) -> Ask:
        return Ask("Again?", again)

    world, run_id, question_id = await asking(lambda arguments: again(None))
    for number in range(1, MAX_QUESTIONS + 1):
        name = question_id if number == 1 else f"{question_id}.{number}"
        run = await world.answer(run_id, name)
    assert run.status is RunStatus.COMPLETED
    assert f"at most {MAX_QUESTIONS} questions" in told(await world.history("c"))[2][1]


async def test_values_that_do_not_fit_the_form_are_refused_and_the_question_stays() -> None:
    world, run_id, question_id = await asking()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "content"),
        ({"seat": 12}, "content.seat"),
        ({"seat": "12ABC"}, "content.seat"),
        ({"seat": "1", "more": "x" * 70_000}, "content"),
    ]
    for values, path in wrong:
        with pytest.raises(Refused) as caught:
            await world.answer(run_id, question_id, values)
        assert (caught.value.code, caught.value.info.details) == (
            "invalid_request",
            {"field": path},
        )
    assert len((await world.waiting_questions()).items) == 1
    await world.answer(run_id, question_id, {"seat": "1"})


async def test_an_answer_is_heard_once() -> None:
    world, run_id, question_id = await asking()
    both = [
        world.main.services.questions.answer(
            run_id, question_id, "accept", {"seat": seat}, caller=ANN
        )
        for seat in ("1", "2")
    ]
    ends = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["QuestionAnswer", "Refused"]
    await world.settle()
    assert len(world.servers.calls) == 2


async def test_nobody_answers_in_time_and_the_tool_is_told_cancel() -> None:
    world, run_id, question_id = await asking()
    await world.advance(86400 - 60)
    assert (await world.run(run_id)).status is RunStatus.WAITING_INPUT
    await world.advance(120)
    assert (await world.run(run_id)).status is RunStatus.COMPLETED
    assert told(await world.history("c"))[2] == ("tool", "cancel: None at noon")
    stored = world.tables.answers[(run_id, question_id)]
    assert (stored.action, stored.answered_by) == ("cancel", "aos")
    with pytest.raises(Refused) as caught:
        await world.answer(run_id, question_id, {"seat": "1"})
    assert caught.value.code == "already_answered"


async def test_the_runs_clock_stops_while_a_person_is_asked() -> None:
    world = MemoryWorld(model=ScriptedModel(SET, "Done."))
    await world.put_mcp_server(CLOCK, {"set": which_seat})
    await world.put_agent({**CEO, "limits": {"run_timeout_seconds": 60}})
    run = await world.ask("ceo", "Set it.")
    await world.advance(3600)
    run = await world.answer(run.run_id, f"call_{run.run_id[:8]}_0_0", {"seat": "1"})
    assert run.status is RunStatus.COMPLETED


async def test_a_run_that_is_cancelled_while_a_person_is_asked_ends_and_asks_no_more() -> None:
    world, run_id, question_id = await asking()
    run = await world.cancel(run_id)
    assert run.status is RunStatus.CANCELLED
    assert (await world.waiting_questions()).items == []
    with pytest.raises(Refused) as caught:
        await world.answer(run_id, question_id, {"seat": "1"})
    assert caught.value.code == "already_answered"
    text = told(await world.history("c"))[2][1]
    assert text == "error: the tool asks a person before it goes on: Which seat?"
    assert len(world.servers.calls) == 1


async def test_another_owner_may_neither_see_nor_answer_and_an_approver_may() -> None:
    world, run_id, question_id = await asking()
    assert (await world.waiting_questions(owner="bob")).items == []
    with pytest.raises(Refused) as caught:
        await world.answer(run_id, question_id, {"seat": "1"}, owner="bob")
    assert caught.value.code == "run_not_found"
    approver = Caller(owner="bob", is_approver=True)
    await world.main.services.questions.answer(
        run_id, question_id, "accept", {"seat": "1"}, caller=approver
    )
    await world.settle()
    assert (await world.run(run_id)).status is RunStatus.COMPLETED


async def test_a_result_of_an_earlier_round_that_comes_again_changes_nothing() -> None:
    world, run_id, question_id = await asking()
    first = world.tables.tool_calls[(run_id, question_id)].result
    assert first is not None
    task = CallPause(kind="task", task_id="t-1", poll_seconds=5.0)
    working = ToolOutcome(outcome="outcome_unknown", content="works", pause=task)
    world.servers.tasks["t-1"] = working
    world.servers.continuations["clock", "set"] = lambda arguments, resume: working
    await world.answer(run_id, question_id, {"seat": "1"})
    again = ToolResult(
        run_id=run_id,
        conversation_id="c",
        tool_call_id=question_id,
        outcome=first.outcome,
        content=first.content,
        pause=first.pause,
    )
    await world.ports.bus.send(to_realm(again))
    await world.settle()
    assert (await world.run(run_id)).status is RunStatus.IN_PROGRESS
    assert (await world.waiting_questions()).items == []


async def test_an_answer_whose_waking_was_lost_is_found_by_the_mender() -> None:
    world, run_id, question_id = await asking()
    send = world.ports.bus.send

    async def away(outgoing: object) -> None:
        raise TransientError("the bus is away")

    world.ports.bus.send = away  # type: ignore[method-assign]
    await world.main.services.questions.answer(
        run_id, question_id, "accept", {"seat": "1"}, caller=ANN
    )
    world.ports.bus.send = send  # type: ignore[method-assign]
    await world.advance(60)
    assert (await world.run(run_id)).status is RunStatus.COMPLETED


def replayed(content: str) -> ToolOutcome:
    """What a server of an older revision answers after its questions were told `cancel`."""
    schema = {"type": "object", "properties": {}}
    questions = tuple(
        ToolQuestion(key="", message=m, requested_schema=schema) for m in ("One?", "Two?")
    )
    return ToolOutcome(
        outcome="ok", content=content, pause=CallPause(kind="replay", questions=questions)
    )


async def old_server() -> tuple[MemoryWorld, str, str]:
    world = MemoryWorld(model=ScriptedModel(SET, "Done."))
    world.servers.add("clock", ToolSchema(name="set"), lambda arguments: replayed("not set"))

    def go_on(arguments: Mapping[str, Any], resume: CallResume) -> ToolOutcome:
        said = " ".join(answer.action for answer in resume.all_answers)
        return ToolOutcome(outcome="ok", content=f"told {said}")

    world.servers.continuations["clock", "set"] = go_on
    await world.put_mcp_server(CLOCK, {})
    await world.put_agent(CEO)
    run = await world.ask("ceo", "Set it.", conversation_id="c")
    return world, run.run_id, f"call_{run.run_id[:8]}_0_0"


async def test_an_older_server_is_called_again_when_all_its_questions_are_answered() -> None:
    world, run_id, question_id = await old_server()
    await world.answer(run_id, question_id)
    assert len(world.servers.calls) == 1
    await world.answer(run_id, f"{question_id}.2", action="decline")
    assert told(await world.history("c"))[2] == ("tool", "told accept decline")


async def test_an_older_server_that_was_told_cancel_is_not_called_again_for_a_cancel() -> None:
    world, run_id, question_id = await old_server()
    await world.answer(run_id, question_id, action="cancel")
    assert (await world.run(run_id)).status is RunStatus.COMPLETED
    assert told(await world.history("c"))[2] == ("tool", "not set")
    assert len(world.servers.calls) == 1


async def test_the_form_is_in_no_log() -> None:
    world, run_id, question_id = await asking()
    await world.answer(run_id, question_id, {"seat": "XYZ"})
    said = (world.telemetry.lines, world.telemetry.custom_events, world.telemetry.spans)
    assert "XYZ" not in repr(said)


async def test_a_time_out_and_a_person_at_once_are_one_answer() -> None:
    world, *_ = await asking()
    asked = (await world.waiting_questions()).items[0]
    real = world.ports.questions.answer

    async def late(question: Any, answer: QuestionAnswer) -> None:
        if answer.answered_by == "aos":  # a person was first by a moment
            person = replace(answer, action="accept", values={"seat": "9"}, answered_by="local")
            await real(question, person)
            raise StaleWrite("somebody answered")
        await real(question, answer)

    world.ports.questions.answer = late  # type: ignore[method-assign]
    await world.advance((asked.expires_at - world.clock.now()).total_seconds() + 60)
    assert told(await world.history("c"))[2] == ("tool", "accept: 9 at noon")
