"""The log of a run's events says what was saved, once, in order."""

from __future__ import annotations

from typing import Any

import pytest

from aos.domain.runs.run_events import make_queued_event
from aos.errors import RunFailed, TransientError
from aos.testing import Answer, Calls, MemoryWorld, ScriptedModel
from tests.unit.run_events.reading import ask, events_of, page, stream
from tests.unit.tools.test_questions import asking, two_questions
from tests.unit.tools.worlds import a_world

SET = Calls(("clock__set", {"to": "noon"}))
NOW = Calls(("clock__now", {"zone": "CET"}))
GUARDED = {"mcp_tools": [{"server": "clock", "tools": ["set"], "approval": "always"}, "clock/now"]}
PLAIN = ["run.queued", "run.started", "turn.started", "message.completed", "run.completed"]


def types(events: list[dict[str, Any]]) -> list[str]:
    """The types, after a look at the ids: they count from 1 without a gap."""
    assert [event["id"] for event in events] == [str(n + 1) for n in range(len(events))]
    return [event["type"] for event in events]


async def plain_world(*answers: Answer) -> MemoryWorld:
    """An agent `ceo` without tools."""
    world = MemoryWorld(model=ScriptedModel(*answers))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    return world


async def test_a_plain_run_tells_its_turn_and_its_end() -> None:
    world = await plain_world("Cash, then people.")
    run = await world.ask("ceo", "What matters?")
    events = await events_of(world, run.run_id)
    assert types(events) == PLAIN
    assert {event["run_id"] for event in events} == {run.run_id}
    message = events[3]
    assert (message["turn"], message["data"]["content"]) == (1, "Cash, then people.")
    assert message["data"]["usage"] == {"input_tokens": 10, "output_tokens": 3}
    assert events[4]["data"]["usage"]["total_tokens"] == 13


async def test_the_first_event_tells_the_question_until_the_conversation_is_deleted() -> None:
    world = await plain_world("Cash.")
    run = await world.ask("ceo", "What matters?" * 1000)
    (queued, *_) = await events_of(world, run.run_id)
    assert queued["data"]["message"] == ("What matters?" * 1000)[:2000]
    request = world.tables.requests[run.run_id].request
    assert "message" not in make_queued_event(request.scrub()).data


async def test_tools_are_told_when_they_are_called_and_when_they_answer() -> None:
    world = await a_world(NOW, "It is noon.")
    run = await world.ask("ceo", "What time is it?")
    events = await events_of(world, run.run_id)
    assert types(events) == [
        *PLAIN[:4],
        "tool.called",
        "run.waiting",
        "tool.completed",
        *PLAIN[2:],
    ]
    called, waiting, completed = events[4:7]
    assert called["data"]["name"] == "clock/now"
    assert called["data"]["arguments"] == '{"zone": "CET"}'
    assert waiting["data"]["kind"] == "tools"
    assert (completed["data"]["outcome"], completed["data"]["content"]) == ("ok", "noon in CET")
    assert events[3]["data"]["tool_calls"][0]["tool_call_id"] == called["data"]["tool_call_id"]
    assert [event["turn"] for event in events if "turn" in event] == [1] * 5 + [2] * 2


async def test_a_call_of_a_tool_that_does_not_exist_is_told_too() -> None:
    world = await a_world(Calls(("nothing", {})), "So be it.")
    run = await world.ask("ceo", "Try.")
    events = await events_of(world, run.run_id)
    assert types(events) == [*PLAIN[:4], "tool.called", "tool.completed", *PLAIN[2:]]


@pytest.mark.parametrize("decision", ["approve", "deny"])
async def test_approvals_are_told_when_asked_and_when_decided(decision: str) -> None:
    world = await a_world(SET, "Done.", card=GUARDED)
    run = await world.ask("ceo", "Set it.")
    asked = types(await events_of(world, run.run_id))
    assert asked == [*PLAIN[:4], "approval.requested", "run.waiting"]
    await world.decide(run.run_id, f"call_{run.run_id[:8]}_0_0", decision)
    events = await events_of(world, run.run_id)
    after = types(events)[6:]
    called = ["tool.called", "run.waiting"] if decision == "approve" else []
    assert after == ["approval.decided", *called, "tool.completed", *PLAIN[2:]]
    assert events[6]["data"]["decision"] == decision
    if decision == "deny":
        assert events[7]["data"]["outcome"] == "denied"


async def test_questions_of_a_tool_are_told_when_asked_and_when_answered() -> None:
    world, run_id, question_id = await asking(two_questions)
    asked = types(await events_of(world, run_id))
    assert asked == [
        *PLAIN[:4],
        "tool.called",
        "run.waiting",
        "input.requested",
        "run.waiting",
    ]
    await world.answer(run_id, question_id)
    await world.answer(run_id, question_id + ".2")
    events = await events_of(world, run_id)
    again = types(events)[8:]
    assert again[0] == "input.answered"
    assert [kind for kind in again if kind.startswith("input.")] == [
        "input.answered",
        "input.requested",
        "input.answered",
    ]
    assert [kind for kind in types(events) if kind.startswith("tool.")] == [
        "tool.called",
        "tool.completed",
    ]
    assert events[6]["data"]["message"] == "Begin?"
    assert types(events)[-1] == "run.completed"


async def test_a_failed_run_tells_why() -> None:
    world = await plain_world(RunFailed("model_rejected", "no"))
    run = await world.ask("ceo", "What?")
    events = await events_of(world, run.run_id)
    assert types(events) == ["run.queued", "run.started", "run.failed"]
    assert events[-1]["data"]["error"]["code"] == "model_rejected"


async def test_a_run_that_is_cancelled_while_a_person_is_asked_ends_its_calls() -> None:
    world = await a_world(SET, card=GUARDED)
    run = await world.ask("ceo", "Set it.")
    await world.cancel(run.run_id)
    events = await events_of(world, run.run_id)
    assert types(events)[6:] == ["tool.completed", "run.cancelled"]
    assert events[6]["data"]["content"].startswith("not called")


async def test_a_wait_for_a_model_that_is_away_is_told_with_its_end() -> None:
    away = TransientError("the endpoint is away")
    world = await plain_world(*[away] * 40, "Back.")
    run = await world.ask("ceo", "What?")
    events = await events_of(world, run.run_id)
    assert types(events)[:3] == ["run.queued", "run.started", "run.retrying"]
    assert events[2]["data"]["attempt"] == 1
    assert events[2]["data"]["until"] > events[2]["time"]


async def test_a_run_that_never_started_tells_its_end() -> None:
    world = await a_world(SET, card=GUARDED)
    first = await world.ask("ceo", "Set it.", conversation_id="c")
    second = await world.ask("ceo", "And now?", conversation_id="c")
    await world.cancel(second.run_id)
    assert types(await events_of(world, second.run_id)) == ["run.queued", "run.cancelled"]
    assert types(await events_of(world, first.run_id))[-1] == "run.waiting"


async def test_a_reader_that_comes_again_gets_exactly_the_rest() -> None:
    world = await a_world(NOW, SET, "Both.")
    run = await world.ask("ceo", "Do both.")
    whole = await stream(world, run.run_id)
    assert whole == await events_of(world, run.run_id)
    for place, event in enumerate(whole):
        rest = await page(world, run.run_id, after=event["id"])
        assert rest == {"items": whole[place + 1 :], "next": None}
        if rest["items"]:
            assert await stream(world, run.run_id, last_event_id=event["id"]) == rest["items"]
    end = await ask(world, run.run_id, accept="text/event-stream", last_event_id=whole[-1]["id"])
    assert (end.status_code, end.get_body()) == (204, b"")


async def test_a_page_of_a_run_that_goes_on_says_where_to_go_on() -> None:
    world = await a_world(SET, "Done.", card=GUARDED)
    run = await world.ask("ceo", "Set it.")
    first = await page(world, run.run_id, limit="4")
    assert first["next"] == f"/api/runs/{run.run_id}/events?after=4&limit=4"
    assert [event["id"] for event in first["items"]] == ["1", "2", "3", "4"]
    later = await page(world, run.run_id, after="6")
    assert later == {"items": [], "next": f"/api/runs/{run.run_id}/events?after=6&limit=100"}


@pytest.mark.parametrize("after", ["x", "-1", "1.2", "1.2.3.4", "9" * 9])
async def test_what_is_not_the_id_of_an_event_is_refused(after: str) -> None:
    world = await plain_world("Yes.")
    run = await world.ask("ceo", "Well?")
    answer = await ask(world, run.run_id, params={"after": after})
    assert (answer.status_code, b"send the id of an event" in answer.get_body()) == (400, True)


async def test_a_run_that_nobody_asked_for_has_no_events() -> None:
    world = await plain_world()
    answer = await ask(world, "0" * 8 + "-0000-4000-8000-" + "0" * 12)
    assert (answer.status_code, b"run_not_found" in answer.get_body()) == (404, True)


@pytest.mark.parametrize(
    "accept", ["text/event-stream;q=0, application/json", "text/event-stream; q=0.0"]
)
async def test_a_stream_is_not_sent_to_a_caller_who_refuses_it(accept: str) -> None:
    world = await plain_world("Hello.")
    run = await world.ask("ceo", "Hi")
    answer = await ask(world, run.run_id, accept=accept)
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
