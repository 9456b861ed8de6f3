"""Servers that answer a call with a task of MCP's extension."""

from __future__ import annotations

from typing import Any

import pytest

from aos.domain.cards.server_card import McpServerCard
from aos.domain.tools.questions import CallPause, CallResume, GivenAnswer
from aos.domain.tools.tool import ToolOutcome
from tests.contract.mcp.kit import call, servers
from tests.contract.mcp.test_odd_servers import NEWEST, page, scripted, text, tool
from tests.contract.mcp.test_questions import FORM

Json = dict[str, Any]


def state(status: str, **more: Any) -> Json:
    return {"result": {"resultType": "complete", "taskId": "t-1", "status": status, **more}}


BEGUN = {
    "result": {
        "resultType": "task",
        "taskId": "t-1",
        "status": "working",
        "ttlMs": None,
        "pollIntervalMs": 2500,
    }
}


def tasked(*states: Json, **more: Any) -> McpServerCard:
    """A server whose tool becomes a task that is in these states, one after the other."""
    answers: Json = {"tasks/get": list(states), **more}
    return scripted(discover=NEWEST, list=page(tool("t")), call=BEGUN, **answers)


async def follow(card: McpServerCard, resume: CallResume | None = None) -> ToolOutcome:
    async with servers() as made, made.hold(card, "d1") as line:
        return await line.follow_task("t-1", timeout_seconds=10.0, resume=resume)


async def test_a_call_that_becomes_a_task_says_when_to_ask_for_it() -> None:
    async with servers() as made:
        outcome = await call(made, tasked(state("working")), "t")
    assert outcome.outcome == "outcome_unknown"
    assert outcome.pause == CallPause(kind="task", task_id="t-1", poll_seconds=2.5)


@pytest.mark.parametrize(
    ("told", "outcome", "content"),
    [
        (state("completed", result={"content": [text("42")]}), "ok", "42"),
        (state("completed", result={"content": [text("no")], "isError": True}), "error", "no"),
        (state("failed", error={"code": -32603, "message": "broke"}), "error", "broke"),
        (state("cancelled"), "error", "cancelled the task"),
        (state("on fire"), "outcome_unknown", "on fire"),
        (
            {"error": {"code": -32602, "message": "Task not found"}},
            "outcome_unknown",
            "Task not found",
        ),
        ({"result": {}}, "outcome_unknown", "null"),
    ],
)
async def test_what_a_task_has_come_to_is_told(told: Json, outcome: str, content: str) -> None:
    found = await follow(tasked(told))
    assert (found.outcome, found.pause) == (outcome, None)
    assert content in found.content


@pytest.mark.parametrize(
    ("interval", "seconds"), [(1, 1.0), (90_000_000, 60.0), (None, 5.0), ("x", 5.0), (True, 5.0)]
)
async def test_the_interval_is_bounded(interval: Any, seconds: float) -> None:
    found = await follow(tasked(state("working", pollIntervalMs=interval)))
    assert found.pause is not None
    assert found.pause.poll_seconds == seconds


async def test_a_task_asks_a_person_and_a_question_with_an_answer_is_not_asked_again() -> None:
    asks = state(
        "input_required", inputRequests={"q": {"method": "elicitation/create", "params": FORM}}
    )
    card = tasked(asks, **{"tasks/update": {"result": {"resultType": "complete"}}})
    found = await follow(card)
    assert found.pause is not None
    (question,) = found.pause.questions
    assert (question.key, question.message) == ("q", "Which?")
    given = GivenAnswer(question=question, action="accept", values={})
    resume = CallResume(kind="task", answers=(given,), task_id="t-1")
    again = await follow(card, resume)  # the server still lists it
    assert again.pause is not None
    assert again.pause.questions == ()


async def test_a_task_is_cancelled_though_the_server_does_not_know_it() -> None:
    for answer in ({"result": {"resultType": "complete"}}, {"error": {"code": -32602}}):
        card = tasked(state("working"), **{"tasks/cancel": answer})
        async with servers() as made, made.hold(card, "d1") as line:
            await line.cancel_task("t-1", timeout_seconds=10.0)
