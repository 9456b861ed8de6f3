"""A run that asks people ends as an AG-UI run; the next one brings the answers, and it goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from aos.entrypoints.http.ag_ui import routes
from aos.entrypoints.http.streams import StreamedResponse
from aos.services.run_events import reader
from aos.testing import Ask, Calls, MemoryWorld, ScriptedModel
from tests.unit.ag_ui.client import AgUiClient, post, read_answer, text_of, types_of
from tests.unit.tools.test_questions import SEAT, which_seat
from tests.unit.tools.worlds import CLOCK, noon, nothing

SET = ("clock__set", {"to": "noon"})
SET_LATER = ("clock__set", {"to": "six"})
NOW = ("clock__now", {})
GUARDED = [{"server": "clock", "tools": ["set"], "approval": "always"}, "clock/now"]


async def asking(*answers: Any, tool: Any = nothing, guarded: bool = True) -> AgUiClient:
    world = MemoryWorld(model=ScriptedModel(*answers))
    await world.put_mcp_server(CLOCK, {"now": noon, "set": tool})
    tools = GUARDED if guarded else ["clock"]
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": tools})
    client = AgUiClient(world)
    client.say("Set it.")
    return client


def interrupts_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    assert events[-1]["outcome"]["type"] == "interrupt"
    found: list[dict[str, Any]] = events[-1]["outcome"]["interrupts"]
    return found


async def test_a_call_that_waits_for_a_decision_is_an_interrupt() -> None:
    client = await asking(Calls(SET, text="I set it."))
    events = await client.run()
    assert types_of(events)[-4:] == [
        "TOOL_CALL_START",
        "TOOL_CALL_ARGS",
        "TOOL_CALL_END",
        "RUN_FINISHED",
    ]
    (asked,) = interrupts_of(events)
    (call,) = client.messages[-1]["toolCalls"]
    assert (asked["reason"], asked["toolCallId"]) == ("tool_call", call["id"])
    assert asked["message"] == "May the agent call clock/set?"
    assert asked["metadata"] == {"name": "clock/set", "arguments": '{"to": "noon"}'}
    assert asked["responseSchema"]["required"] == ["approved"]
    assert asked["expiresAt"].endswith("Z")
    assert client.world.servers.calls == []


@pytest.mark.parametrize(
    ("answer", "called", "result"),
    [
        ({"approved": True}, ["set"], ""),
        (True, ["set"], ""),
        ({"approved": False, "reason": "Not today."}, [], "denied: Not today."),
        (None, [], "denied"),
    ],
    ids=["approved", "true", "denied", "abandoned"],
)
async def test_the_answer_resumes_the_run(answer: Any, called: list[str], result: str) -> None:
    client = await asking(Calls(SET, text="I set it."), "Done.")
    first = await client.run()
    events = await client.resume(first, answer)
    assert types_of(events) == [
        "RUN_STARTED",
        "TOOL_CALL_RESULT",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]
    assert events[1]["content"].startswith(result)
    assert text_of(events) == "Done."
    assert events[-1]["outcome"] == {"type": "success"}
    assert events[0]["metadata"] == first[0]["metadata"]  # one run of AOS
    assert events[-1]["usage"][0]["outputTokens"] == 1  # its own calls of the model alone
    assert [call.tool for call in client.world.servers.calls] == called
    history = await client.world.history("t")
    assert [m["role"] for m in client.messages] == [m.role for m in history]


async def test_calls_that_wait_together_are_asked_together_beside_one_that_runs() -> None:
    client = await asking(Calls(SET, NOW, SET_LATER), "Done.")
    events = await client.run()
    assert len(interrupts_of(events)) == 2
    events = await client.resume(events, {"approved": True}, {"approved": False})
    assert events[-1]["outcome"] == {"type": "success"}
    assert text_of(events) == "Done."
    assert sorted(call.tool for call in client.world.servers.calls) == ["now", "set"]


async def test_what_was_not_answered_is_asked_again() -> None:
    client = await asking(Calls(SET, SET_LATER), "Done.")
    events = await client.run()
    one, other = interrupts_of(events)
    entry = {"interruptId": one["id"], "status": "resolved", "payload": True}
    events = await client.run(resume=[entry])
    (asked,) = interrupts_of(events)
    assert asked["toolCallId"] == other["toolCallId"]
    events = await client.resume(events, True)
    assert text_of(events) == "Done."
    assert len(client.world.servers.calls) == 2


async def test_an_answer_that_was_given_elsewhere_is_a_warning_and_the_run_is_told() -> None:
    client = await asking(Calls(SET), "Done.")
    events = await client.run()
    (item,) = (await client.world.waiting_approvals()).items
    await client.world.decide(item.run_id, item.tool_call_id, "deny")
    events = await client.resume(events, {"approved": True})
    (warning,) = [e for e in events if e["type"] == "CUSTOM"]
    assert warning["name"] == "aos.warning"
    assert "was decided: deny" in warning["value"]["message"]
    assert text_of(events) == "Done."
    assert client.world.servers.calls == []


async def test_the_same_answer_again_tells_the_same_rest() -> None:
    client = await asking(Calls(SET), "Done.")
    first = await client.run()
    before = list(client.messages)
    events = await client.resume(first, True, runId="again")
    repeat = await client.resume(first, True, runId="again", messages=before)
    assert [e for e in repeat if e["type"] != "CUSTOM"] == events
    assert len(client.world.servers.calls) == 1


async def test_a_question_of_a_tool_is_an_interrupt_with_its_form() -> None:
    client = await asking(Calls(SET), "Done.", tool=which_seat, guarded=False)
    events = await client.run()
    (asked,) = interrupts_of(events)
    assert (asked["reason"], asked["message"]) == ("input_required", "Which seat?")
    assert asked["responseSchema"] == SEAT
    events = await client.resume(events, {"seat": "12A"})
    assert [e["content"] for e in events if e["type"] == "TOOL_CALL_RESULT"] == [
        "accept: 12A at noon"
    ]
    assert text_of(events) == "Done."


async def test_an_abandoned_question_is_cancelled_and_a_declined_one_is_declined() -> None:
    for entry, said in (
        ({"status": "cancelled"}, "cancel: None at noon"),
        ({"status": "resolved", "metadata": {"action": "decline"}}, "decline: None at noon"),
    ):
        client = await asking(Calls(SET), "Done.", tool=which_seat, guarded=False)
        (asked,) = interrupts_of(await client.run())
        events = await client.run(resume=[{"interruptId": asked["id"], **entry}])
        (result,) = [e for e in events if e["type"] == "TOOL_CALL_RESULT"]
        assert result["content"] == said


async def test_a_tool_that_asks_twice_is_two_interrupts() -> None:
    def twice(_: Mapping[str, Any]) -> Ask:
        return Ask("Begin?", lambda _: Ask("Sure?", lambda answer: f"then {answer.action}"))

    client = await asking(Calls(SET), "Done.", tool=twice, guarded=False)
    events = await client.run()
    events = await client.resume(events, {})
    (asked,) = interrupts_of(events)
    assert asked["message"] == "Sure?"
    events = await client.resume(events, {})
    assert text_of(events) == "Done."


@pytest.mark.parametrize(
    ("entry", "more", "says"),
    [
        ({"interruptId": "x"}, {}, "is not the id of an interrupt of AOS"),
        ({"interruptId": "approval:x:y:3"}, {}, "is not the id of an interrupt of AOS"),
        ({"payload": "yes"}, {}, "payload has no decision"),
        ({"payload": {"approved": "yes"}}, {}, "payload has no decision"),
        ({"status": "done"}, {}, "resume[0].status"),
        ({"payload": True}, {"text": "And sell."}, "a new message of the user beside resume"),
    ],
    ids=["no id", "no run", "text", "no decision", "status", "a message beside it"],
)
async def test_an_answer_that_cannot_be_used_decides_nothing(
    entry: dict[str, Any], more: dict[str, Any], says: str
) -> None:
    client = await asking(Calls(SET), "Done.")
    (asked,) = interrupts_of(await client.run())
    if "text" in more:
        client.say(more["text"])
    given = {"interruptId": asked["id"], "status": "resolved", **entry}
    body = {"threadId": "t", "runId": "r2", "messages": client.messages, "resume": [given]}
    answer = await post(client.world, body)
    assert answer.status_code == 400
    assert says in json.loads(answer.get_body())["error"]["message"]
    assert len((await client.world.waiting_approvals()).items) == 1


async def test_an_answer_belongs_to_its_thread_and_its_agent() -> None:
    client = await asking(Calls(SET), "Done.")
    (asked,) = interrupts_of(await client.run())
    await client.world.put_agent({"agent_id": "cfo", "purpose": "Count."})
    given = [{"interruptId": asked["id"], "status": "resolved", "payload": True}]
    for agent, thread in (("cfo", "t"), ("ceo", "other")):
        body = {"threadId": thread, "runId": "r2", "messages": [], "resume": given}
        answer = await post(client.world, body, agent=agent)
        assert answer.status_code == 404
    assert len((await client.world.waiting_approvals()).items) == 1


@pytest.mark.parametrize("resuming", [False, True], ids=["a slow model", "a slow realm"])
async def test_a_run_that_is_slow_does_not_ask(
    resuming: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "ASK_SECONDS", 0.02)
    client = await asking(Calls(SET), "Done.")
    body: dict[str, Any] = {"threadId": "t", "runId": "r", "messages": client.messages}
    if resuming:
        (asked,) = interrupts_of(await client.run())
        body["resume"] = [{"interruptId": asked["id"], "status": "resolved", "payload": True}]
    answer = await post(client.world, {**body, "messages": client.messages})
    reading = asyncio.create_task(read_answer(answer))
    done, _ = await asyncio.wait({reading}, timeout=0.3)
    assert not done
    await client.world.settle()
    async with asyncio.timeout(10):
        while not reading.done():
            client.world.clock.advance(1.0)
            await asyncio.sleep(0.01)
    events = await reading
    assert events[-1]["outcome"]["type"] == ("success" if resuming else "interrupt")


async def test_a_question_behind_a_run_that_waits_is_told_what_it_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader, "QUIET_SECONDS", 0.05)
    client = await asking(Calls(SET), "Done.", "More.")
    await client.run()
    messages = [{"id": "n", "role": "user", "content": "And?"}]  # the page was loaded again
    answer = await post(client.world, {"threadId": "t", "runId": "r2", "messages": messages})
    assert isinstance(answer, StreamedResponse)
    reading = asyncio.create_task(read_answer(answer))
    await client.world.settle()
    done, _ = await asyncio.wait({reading}, timeout=0.5)
    assert not done
    (item,) = (await client.world.waiting_approvals()).items
    await client.world.decide(item.run_id, item.tool_call_id, "deny")
    async with asyncio.timeout(10):
        while not reading.done():
            client.world.clock.advance(1.0)
            await asyncio.sleep(0.01)
    events = await reading
    told = [event for event in events if event["type"] == "CUSTOM"]
    assert (told[0]["name"], told[0]["value"]["kind"]) == ("aos.waiting", "queue")
    assert text_of(events) == "More."


@pytest.mark.parametrize("ask_id", ["a/b", "x" * 2000, "\x00", "call_1_0_0:question"])
@pytest.mark.parametrize("kind", ["approval", "question"])
async def test_an_id_that_no_call_can_have_does_not_become_a_key(
    kind: str, ask_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> Any:
        raise AssertionError("storage was asked")

    client = await asking(Calls(SET, text="I set it."))
    (asked,) = interrupts_of(await client.run())
    _, run_id, _, told = asked["id"].split(":")
    for store in (client.world.ports.decisions, client.world.ports.questions):
        monkeypatch.setattr(store, "find", fail)
    entry = {"interruptId": f"{kind}:{run_id}:{ask_id}:{told}", "status": "resolved"}
    body = {"threadId": "t", "runId": "r2", "messages": client.messages}
    rest = await client.post_and_read({**body, "resume": [{**entry, "payload": True}]})
    (warning,) = [event["value"]["message"] for event in rest if event["type"] == "CUSTOM"]
    assert "waits for" in warning
    assert interrupts_of(rest) == [asked]
