"""Servers that ask a person: the official SDK's in both revisions, and scripted ones."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from aos.adapters.mcp.servers import McpServers
from aos.domain.cards.server_card import McpServerCard
from aos.domain.tools.questions import AnswerAction, CallResume, GivenAnswer
from aos.domain.tools.tool import ToolOutcome
from tests.contract.mcp.kit import ASKING, servers
from tests.contract.mcp.test_odd_servers import NEWEST, page, scripted, text, tool

SEAT = {"seat": "12A", "window": True}
Json = dict[str, Any]


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """The file into which the tools write what they have done."""
    return tmp_path / "marks"


def done_work(marks: Path) -> list[str]:
    """What the tools have done."""
    return marks.read_text().splitlines() if marks.exists() else []


def asking(revision: str, marks: Path, **fields: Any) -> McpServerCard:
    return McpServerCard(
        server_id="asking",
        command=sys.executable,
        args=(ASKING, revision, str(marks)),
        **fields,
    )


async def call(
    made: McpServers,
    card: McpServerCard,
    name: str,
    resume: CallResume | None = None,
    **arguments: Any,
) -> ToolOutcome:
    async with made.hold(card, "d1") as line:
        return await line.call(name, arguments, timeout_seconds=20.0, resume=resume)


def going_on(
    outcome: ToolOutcome,
    *answers: tuple[AnswerAction, Json | None],
    earlier: tuple[GivenAnswer, ...] = (),
) -> CallResume:
    """What realm makes of these answers to the questions of a pause."""
    pause = outcome.pause
    assert pause is not None
    assert len(pause.questions) == len(answers)
    return CallResume(
        kind=pause.kind,
        answers=tuple(
            GivenAnswer(question=question, action=action, values=values)
            for question, (action, values) in zip(pause.questions, answers, strict=True)
        ),
        earlier=earlier,
        request_state=pause.request_state,
        task_id=pause.task_id,
    )


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(("revision", "kind"), [("newest", "retry"), ("old", "replay")])
async def test_a_tool_asks_and_does_its_work_once_with_the_answer(
    revision: str, kind: str, restarted: bool, marks: Path
) -> None:
    card = asking(revision, marks)
    async with servers() as made:
        asked = await call(made, card, "book", flight="LH1")
        assert asked.pause is not None
        (question,) = asked.pause.questions
        assert (asked.pause.kind, question.message) == (kind, "Which seat?")
        assert question.requested_schema is not None
        assert question.requested_schema["required"] == ["seat"]
        assert done_work(marks) == []
        resume = going_on(asked, ("accept", SEAT))
        if not restarted:
            outcome = await call(made, card, "book", resume, flight="LH1")
    if restarted:
        async with servers() as made:  # another process, which has another key
            outcome = await call(made, card, "book", resume, flight="LH1")
    assert (outcome.outcome, outcome.content, outcome.pause) == ("ok", "booked 12A on LH1", None)
    assert done_work(marks) == ["LH1 12A"]


@pytest.mark.parametrize("revision", ["newest", "old"])
async def test_a_tool_is_told_that_a_person_declined(revision: str, marks: Path) -> None:
    card = asking(revision, marks)
    async with servers() as made:
        asked = await call(made, card, "book", flight="LH1")
        outcome = await call(made, card, "book", going_on(asked, ("decline", None)), flight="LH1")
    assert outcome.outcome == "error"
    assert "decline" in outcome.content
    assert done_work(marks) == []


async def test_an_older_server_asks_its_second_question_after_the_first_has_its_answer(
    marks: Path,
) -> None:
    card = asking("old", marks)
    sure = ("accept", {"sure": True})
    async with servers() as made:
        first = await call(made, card, "order", item="tea")
        assert (first.outcome, first.content) == ("ok", "not ordered: cancel")
        resume = going_on(first, sure)
        second = await call(made, card, "order", resume, item="tea")
        assert second.pause is not None
        assert [q.message for q in second.pause.questions] == ["Really?"]
        last = going_on(second, sure, earlier=resume.answers)
        done = await call(made, card, "order", last, item="tea")
    assert (done.content, done.pause) == ("ordered tea", None)
    assert done_work(marks) == ["tea"]


async def test_where_several_calls_ask_an_older_server_one_is_asked_then_all_in_turn(
    marks: Path,
) -> None:
    card = asking("old", marks)
    async with servers() as made:
        await made.list_tools(card, "d1")
        both = [call(made, card, "order", item=item) for item in ("tea", "milk")]
        asked, refused = sorted(await asyncio.gather(*both), key=lambda end: end.pause is None)
        assert asked.content == "not ordered: cancel"
        assert "make the calls one after the other" in refused.content
        assert refused.outcome == "error"
        again = [call(made, card, "order", item=item) for item in ("tea", "milk")]
        pauses = [end.pause for end in await asyncio.gather(*again)]
    assert [[q.message for q in pause.questions] for pause in pauses if pause] == [
        ["Order tea?"],
        ["Order milk?"],
    ]
    assert done_work(marks) == []


HI = {"result": {"content": [text("hi")], "resultType": "complete"}}


def requests(**asked: Json) -> Json:
    """A result that asks these questions."""
    return {
        "result": {
            "resultType": "input_required",
            "requestState": "s1",
            "inputRequests": {
                key: {"method": "elicitation/create", "params": params}
                for key, params in asked.items()
            },
        }
    }


FORM = {"message": "Which?", "requestedSchema": {"type": "object", "properties": {}}}


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "a question without a message"),
        ({"message": "m", "requestedSchema": {"type": "array"}}, '"type" of its schema'),
        ({"message": "m", "requestedSchema": {"type": "object", "required": 7}}, "is wrong"),
        (
            {"message": "m", "requestedSchema": {"type": "object", "$ref": "http://x.example/s"}},
            "its schema is wrong",
        ),
        ({"message": "m", "requestedSchema": "text"}, "its schema is not an object"),
        ({"mode": "url", "message": "m", "url": "javascript:alert(1)"}, "not a web address"),
        ({"mode": "url", "message": "m", "url": "file:///etc/passwd"}, "not a web address"),
        ({"mode": "url", "message": "m"}, "not a web address"),
    ],
)
async def test_a_question_that_cannot_be_asked_is_an_error_that_says_why(
    params: Json, said: str
) -> None:
    card = scripted(discover=NEWEST, list=page(tool("t")), call=requests(q=params))
    async with servers() as made:
        outcome = await call(made, card, "t")
    assert (outcome.outcome, outcome.pause) == ("error", None)
    assert said in outcome.content


async def test_an_address_is_asked_as_a_link_and_answered_without_content() -> None:
    link = {"mode": "url", "message": "Sign in.", "url": "https://login.example/1"}
    card = scripted(discover=NEWEST, list=page(tool("t")), call=[requests(q=link), HI])
    async with servers() as made:
        asked = await call(made, card, "t")
        assert asked.pause is not None
        (question,) = asked.pause.questions
        assert (question.url, question.requested_schema) == ("https://login.example/1", None)
        done = await call(made, card, "t", going_on(asked, ("accept", None)))
    assert done.content == "hi"


async def test_an_error_that_names_addresses_is_asked_and_the_call_made_again() -> None:
    item = {"mode": "url", "url": "https://login.example/1", "message": "Sign in"}
    data = {"elicitations": [item]}
    first = {"error": {"code": -32042, "message": "Sign in first", "data": data}}
    card = scripted(list=page(tool("t")), call=[first, HI])
    async with servers() as made:
        asked = await call(made, card, "t")
        assert asked.pause is not None
        assert [q.url for q in asked.pause.questions] == ["https://login.example/1"]
        done = await call(made, card, "t", going_on(asked, ("accept", None)))
    assert done.content == "hi"


async def test_a_server_that_wants_the_call_again_without_a_question_gets_it() -> None:
    wait = {"result": {"resultType": "input_required", "requestState": "s"}}
    card = scripted(discover=NEWEST, list=page(tool("t")), call=[wait, wait, HI])
    async with servers() as made:
        assert (await call(made, card, "t")).content == "hi"


async def test_several_questions_at_once_are_all_told() -> None:
    asked = requests(a=FORM, b={**FORM, "message": "And?"})
    card = scripted(discover=NEWEST, list=page(tool("t")), call=[asked, HI])
    async with servers() as made:
        outcome = await call(made, card, "t")
        assert outcome.pause is not None
        assert [(q.key, q.message) for q in outcome.pause.questions] == [
            ("a", "Which?"),
            ("b", "And?"),
        ]
        resume = going_on(outcome, ("accept", {}), ("cancel", None))
        assert (await call(made, card, "t", resume)).content == "hi"


async def test_a_secret_of_the_server_is_in_no_question() -> None:
    form = {**FORM, "message": "Is s3cret-Token-123456 right?"}
    card = scripted(discover=NEWEST, list=page(tool("t")), call=requests(q=form))
    guarded = McpServerCard(
        server_id="odd",
        command=card.command,
        args=card.args,
        env={"API_TOKEN": "s3cret-Token-123456"},
    )
    async with servers() as made:
        outcome = await call(made, guarded, "t")
    assert "s3cret-Token-123456" not in json.dumps([outcome.content, repr(outcome.pause)])
