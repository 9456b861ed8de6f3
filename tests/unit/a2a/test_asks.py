"""A task that waits for a person is answered by a message to it, once."""

from __future__ import annotations

from typing import Any

import pytest

from aos.services.run_events import reader
from aos.testing import Ask, Calls, MemoryWorld
from tests.unit.a2a.kit import a_message, a_world, rpc, send, state_of, stream, text_of
from tests.unit.tools.worlds import CLOCK

GUARDED = {"mcp_tools": [{"server": "clock", "approval": "always"}]}
SET = Calls(("clock__set", {"to": 4}))
BOTH = Calls(("clock__set", {"to": 4}), ("clock__now", {}))
LABEL = {
    "type": "object",
    "properties": {"label": {"type": "string"}},
    "required": ["label"],
}


def data_of(task: dict[str, Any]) -> list[dict[str, Any]]:
    """What the status message of a task asks, as data."""
    return [part["data"] for part in task["status"]["message"]["parts"] if "data" in part]


async def asking(*answers: Any, asks: Ask | None = None) -> tuple[MemoryWorld, dict[str, Any]]:
    """A task that waits: for a decision, or for the answer to what the tool `set` asks."""
    world = await a_world(*(answers or (SET, "Done.")), card=GUARDED if asks is None else {})
    if asks is not None:
        await world.put_mcp_server(CLOCK, {"now": lambda _: "noon", "set": lambda _: asks})
    task = await send(world, "Set it.")
    assert state_of(task) == "INPUT_REQUIRED"
    return world, task


async def test_the_status_says_what_is_asked_and_what_to_answer() -> None:
    _, task = await asking()
    (call,) = data_of(task)
    assert call["type"] == "approval"
    assert (call["tool"], call["arguments"]) == ("clock/set", {"to": 4})
    text = task["status"]["message"]["parts"][0]["text"]
    assert text == 'May the tool clock/set be called with {"to": 4}? Answer approve or deny.'
    assert task["status"]["message"]["role"] == "ROLE_AGENT"


@pytest.mark.parametrize(
    ("answer", "called"),
    [("approve", 1), ("Approve.", 1), ("deny: too late", 0), ({"data": {"decision": "deny"}}, 0)],
)
async def test_a_decision_lets_the_run_go_on(answer: object, called: int) -> None:
    world, task = await asking()
    ended = await send(world, answer, message_id="2", taskId=task["id"])
    assert (ended["id"], state_of(ended), text_of(ended)) == (task["id"], "COMPLETED", "Done.")
    assert len(world.servers.calls) == called


async def test_a_decision_sent_again_is_the_same_and_decides_nothing_else() -> None:
    world, task = await asking(SET, Calls(("clock__now", {})), "Done.")
    second = await send(world, "approve", message_id="2", taskId=task["id"])
    assert state_of(second) == "INPUT_REQUIRED"
    assert data_of(second)[0]["tool"] == "clock/now"
    again = await send(world, "approve", message_id="2", taskId=task["id"])
    assert state_of(again) == "INPUT_REQUIRED"
    assert [call.tool for call in world.servers.calls] == ["set"]
    ended = await send(world, "approve", message_id="3", taskId=task["id"])
    assert state_of(ended) == "COMPLETED"
    assert state_of(await send(world, "approve", message_id="3", taskId=task["id"])) == "COMPLETED"


async def test_a_decision_sent_again_is_known_however_long_the_run_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One read has the events of so many rows, and the decision comes after them."""
    monkeypatch.setattr(reader, "ROWS_A_READ", 2)
    world, task = await asking(*[Calls(("clock__now", {}))] * 3, "Done.")
    for number in ("2", "3"):
        for _ in range(2):
            told = await send(world, "approve", message_id=number, taskId=task["id"])
            assert state_of(told) == "INPUT_REQUIRED"
        assert len(world.servers.calls) == int(number) - 1


async def test_of_two_calls_each_is_named_and_may_be_decided_alone() -> None:
    world, task = await asking(BOTH, "Done.")
    first, second = (item["toolCallId"] for item in data_of(task))
    vague = await rpc(
        world, "SendMessage", {"message": a_message("approve", message_id="2", taskId=task["id"])}
    )
    assert vague.reason == "INVALID_PARAMS"
    assert first in vague.error["message"]
    part = {"data": {"toolCallId": second, "decision": "deny"}}
    half = await send(world, part, message_id="3", taskId=task["id"])
    assert state_of(half) == "INPUT_REQUIRED"
    assert [item["toolCallId"] for item in data_of(half)] == [first]
    ended = await send(world, "approve", message_id="4", taskId=task["id"])
    assert state_of(ended) == "COMPLETED"
    assert [call.tool for call in world.servers.calls] == ["set"]


async def test_two_calls_are_decided_by_one_message() -> None:
    world, task = await asking(BOTH, "Done.")
    parts = [
        {"data": {"toolCallId": item["toolCallId"], "decision": "approve"}}
        for item in data_of(task)
    ]
    ended = await send(world, *parts, message_id="2", taskId=task["id"])
    assert state_of(ended) == "COMPLETED"
    assert len(world.servers.calls) == 2


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"data": {"action": "accept", "content": {"label": "bug"}}}, "label: bug"),
        ({"data": {"label": "bug"}}, "label: bug"),
        ("bug", "label: bug"),
        ('{"label": "bug"}', "label: bug"),
        ("decline", "decline"),
        ({"data": {"action": "cancel"}}, "cancel"),
    ],
)
async def test_a_question_of_a_tool_is_answered(answer: object, says: str) -> None:
    heard: list[str] = []

    def then(given: Any) -> str:
        values = given.values or {}
        heard.append(f"label: {values['label']}" if values else given.action)
        return "labelled"

    world, task = await asking(asks=Ask("Which label?", then, schema=LABEL))
    (question,) = data_of(task)
    assert (question["type"], question["requestedSchema"]) == ("question", LABEL)
    ended = await send(world, answer, message_id="2", taskId=task["id"])
    assert (state_of(ended), heard) == ("COMPLETED", [says])


async def test_an_answer_that_does_not_fit_the_form_is_refused_and_the_task_waits() -> None:
    world, task = await asking(asks=Ask("Which label?", lambda _: "ok", schema=LABEL))
    wrong = a_message({"data": {"label": 4}}, message_id="2", taskId=task["id"])
    reply = await rpc(world, "SendMessage", {"message": wrong})
    assert (reply.reason, reply.error["data"][1]["fieldViolations"][0]["field"]) == (
        "INVALID_PARAMS",
        "content.label",
    )
    read = await rpc(world, "GetTask", {"id": task["id"]})
    assert state_of(read.body["result"]) == "INPUT_REQUIRED"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("maybe", "write approve or deny"),
        ({"data": {"decision": "yes"}}, '"decision": "approve" or "deny"'),
        ({"data": {"decision": "approve", "toolCallId": "other"}}, "is not asked"),
        ({"data": [1]}, "neither a text nor a data part"),
        ({"raw": "aGk=", "mediaType": "text/plain"}, "neither a text nor a data part"),
    ],
)
async def test_what_is_no_decision_is_refused(answer: object, says: str) -> None:
    world, task = await asking()
    message = a_message(answer, message_id="2", taskId=task["id"])
    reply = await rpc(world, "SendMessage", {"message": message})
    assert reply.reason == "INVALID_PARAMS"
    assert says in reply.error["message"]
    assert world.servers.calls == []


async def test_a_task_that_asks_nothing_takes_no_message() -> None:
    world = await a_world("Hello.")
    task = await send(world, "Hi")
    late = a_message("And?", message_id="2", taskId=task["id"])
    reply = await rpc(world, "SendMessage", {"message": late})
    assert reply.reason == "UNSUPPORTED_OPERATION"
    late["contextId"] = "another"
    assert (await rpc(world, "SendMessage", {"message": late})).reason == "INVALID_PARAMS"


async def test_a_stream_ends_at_the_question_and_the_answer_opens_another() -> None:
    world = await a_world(BOTH, "Done now.", card=GUARDED)
    told = await stream(world, "SendStreamingMessage", {"message": a_message("Set it.")})
    task = told[0]["task"]
    last = told[-1]["statusUpdate"]
    assert (state_of(task), state_of(last)) == ("SUBMITTED", "INPUT_REQUIRED")
    first, second = (item["toolCallId"] for item in data_of(last))
    parts = [{"data": {"toolCallId": it, "decision": "approve"}} for it in (first, second)]
    answer = a_message(*parts, message_id="2", taskId=task["id"])
    told = await stream(world, "SendStreamingMessage", {"message": answer})
    states = [
        state_of(item[kind])
        for item in told
        for kind in item
        if "Artifact" not in kind and "artifact" not in kind
    ]
    assert states[0] == "WORKING"
    assert states[-1] == "COMPLETED"
    assert "INPUT_REQUIRED" not in states
