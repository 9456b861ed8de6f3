"""Questions of tools over HTTP and on the queue."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from aos.domain.envelope import CallTool, ToolResult, read_command, to_realm
from aos.domain.tools.questions import CallPause, QuestionRequest, ToolQuestion
from aos.domain.tools.tool import ServerTools, ToolSchema
from aos.testing import Calls
from tests.unit.entrypoints.laptop_in_memory import InMemory, Reply, call

SERVER = {
    "server_id": "github",
    "command": "npx",
    "args": ["-y", "@modelcontextprotocol/server-github"],
}
CARD = {"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": ["github"]}
GITHUB = ServerTools(
    server_id="github",
    state="ready",
    tools=(ToolSchema(name="create_issue"),),
    listed_at=datetime(2030, 1, 1, tzinfo=UTC),
)
FORM = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["bug", "wish"]}},
    "required": ["label"],
}
LABEL = ToolQuestion(key="q", message="Which label?", requested_schema=FORM)
LOGIN = ToolQuestion(key="q", message="Sign in.", url="https://login.example/1")


async def commands(apps: InMemory) -> list[CallTool]:
    """The CallTools that mcp would get, which nobody handles here."""
    found = [read_command(kept.body) for kept in apps.broker.messages("aos-mcp")]
    return [command for command in found if isinstance(command, CallTool)]


async def waiting(
    apps: InMemory, question: ToolQuestion = LABEL, *, over_queue: bool = False
) -> dict[str, Any]:
    """A run whose call asks this: as /api/questions lists it."""
    (item,) = await wait(apps, question, over_queue=over_queue)
    return item


async def wait(
    apps: InMemory, question: ToolQuestion = LABEL, *, over_queue: bool = False
) -> list[dict[str, Any]]:
    """Let a run's call ask this; what /api/questions lists then."""
    await apps.config.write("mcp-servers/github.json", json.dumps(SERVER).encode())
    await apps.world.tools.put(GITHUB)
    await apps.put(CARD)
    apps.model.then(Calls(("github__create_issue", {"title": "x"})), "It is done.")
    if over_queue:
        apps.send({"agent_id": "ceo", "message": "Do it."})
    else:
        await apps.ask({"message": "Do it.", "conversation_id": "c", "wait_seconds": 0})
    await apps.settle()
    (command,) = await commands(apps)
    asks = ToolResult(
        run_id=command.run_id,
        conversation_id=command.conversation_id,
        tool_call_id=command.tool_call_id,
        outcome="error",
        content="asks a person",
        pause=CallPause(kind="retry", questions=(question,), request_state="s"),
    )
    await apps.world.bus.send(to_realm(asks))
    await apps.settle()
    listed = await call(apps.main.questions.list)
    return [dict(item) for item in listed.body["items"]]


async def answer(apps: InMemory, item: dict[str, Any], body: object, **more: Any) -> Reply:
    """POST an answer to it."""
    parts = {"run_id": item["run_id"], "question_id": item["question_id"], **more}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await call(apps.main.questions.answer, method="POST", parts=parts, body=raw)


async def test_a_question_is_listed_and_its_run_says_so(apps: InMemory) -> None:
    item = await waiting(apps)
    assert {name: item[name] for name in ("tool", "mode", "message", "requested_schema")} == {
        "tool": "github/create_issue",
        "mode": "form",
        "message": "Which label?",
        "requested_schema": FORM,
    }
    assert item["question_id"] == item["tool_call_id"] == f"call_{item['run_id'][:8]}_0_0"
    assert "owner" not in item
    assert "url" not in item
    run = await call(apps.main.runs.get, parts={"run_id": item["run_id"]})
    assert run.body["status"] == "waiting_input"


async def test_an_address_is_told_as_a_link(apps: InMemory) -> None:
    item = await waiting(apps, LOGIN)
    assert (item["mode"], item["url"]) == ("url", "https://login.example/1")
    assert "requested_schema" not in item
    assert (await answer(apps, item, {"action": "accept"})).status == 200


async def test_the_call_goes_on_with_the_answer_and_the_servers_state(apps: InMemory) -> None:
    item = await waiting(apps)
    reply = await answer(apps, item, {"content": {"label": "bug"}})
    assert (reply.status, reply.body["action"], reply.body["answered_by"]) == (
        200,
        "accept",
        "local",
    )
    assert "bug" not in json.dumps(reply.body)
    await apps.settle()
    first, second = await commands(apps)
    assert (first.round_number, first.resume) == (0, None)
    assert (second.round_number, second.tool, second.arguments) == (
        1,
        "create_issue",
        {"title": "x"},
    )
    assert second.resume is not None
    (given,) = second.resume.answers
    assert (given.action, given.values, second.resume.request_state) == (
        "accept",
        {"label": "bug"},
        "s",
    )


async def test_an_answer_counts_before_realm_has_listed_the_question(apps: InMemory) -> None:
    """The run's events say that it waits before realm has written what it asks."""
    real, replies = apps.world.questions.ask, []

    async def ask(question: QuestionRequest) -> None:
        apps.world.questions.ask = real  # type: ignore[method-assign]
        item = {"run_id": question.run_id, "question_id": question.question_id}
        replies.append(await answer(apps, {**item, "question_id": "q"}, {"action": "decline"}))
        replies.append(await answer(apps, item, {"content": {"label": "bug"}}))
        await real(question)

    apps.world.questions.ask = ask  # type: ignore[method-assign]
    assert await wait(apps) == []
    assert [reply.status for reply in replies] == [404, 200]
    _, second = await commands(apps)
    assert second.resume is not None
    assert second.resume.answers[0].values == {"label": "bug"}


async def test_of_two_answers_one_is_200_and_the_next_409(apps: InMemory) -> None:
    item = await waiting(apps)
    assert (await answer(apps, item, {"action": "decline"})).status == 200
    again = await answer(apps, item, {"content": {"label": "bug"}})
    assert (again.status, again.code) == (409, "already_answered")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"action": "maybe"},
        {"content": "bug"},
        {"content": {"label": "fuss"}},
        {"content": {}},
        [],
        b"{",
    ],
    ids=[
        "no content",
        "maybe",
        "a text",
        "not of the list",
        "a field missing",
        "a list",
        "no JSON",
    ],
)
async def test_an_answer_that_does_not_fit_is_400(apps: InMemory, body: object) -> None:
    item = await waiting(apps)
    reply = await answer(apps, item, body)
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert (await answer(apps, item, {"content": {"label": "wish"}})).status == 200


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"run_id": "nope"}, "run_not_found"),
        ({"run_id": "3f1d1a52-0000-4000-8000-000000000000"}, "run_not_found"),
        ({"question_id": "nope"}, "question_not_found"),
        ({"question_id": "call_00000000_0_0"}, "question_not_found"),
        ({"question_id": "call_00000000_0_0."}, "question_not_found"),
        ({"question_id": "call_00000000_0_0.1"}, "question_not_found"),
        ({"question_id": "call_00000000_0_0.2"}, "question_not_found"),
    ],
)
async def test_what_does_not_wait_is_404(apps: InMemory, parts: dict[str, str], code: str) -> None:
    item = await waiting(apps)
    reply = await answer(apps, item, {"action": "decline"}, **parts)
    assert (reply.status, reply.code) == (404, code)


def on_the_queue(item: dict[str, Any], **change: Any) -> dict[str, Any]:
    """An answer as a message."""
    return {
        "type": "question.answer",
        "run_id": item["run_id"],
        "question_id": item["question_id"],
        "content": {"label": "bug"},
        **change,
    }


async def test_an_answer_on_the_queue_goes_to_the_tool_and_has_no_reply(apps: InMemory) -> None:
    item = await waiting(apps, over_queue=True)
    for _ in range(2):  # as it is delivered again
        apps.send(on_the_queue(item), message_id="m-2")
    await apps.settle()
    assert [command.round_number for command in await commands(apps)] == [0, 1]
    assert apps.replies() == []
    apps.send(on_the_queue(item), message_id="m-3")
    await apps.settle()
    (reply,) = [json.loads(kept.body) for kept in apps.replies()]
    assert (reply["type"], reply["run_id"], reply["error"]["code"]) == (
        "run.refused",
        item["run_id"],
        "already_answered",
    )


@pytest.mark.parametrize(
    ("change", "owner", "code"),
    [
        ({}, "bob", "run_not_found"),
        ({"action": "maybe"}, None, "invalid_request"),
        ({"content": {"label": 1}}, None, "invalid_request"),
        ({"question_id": "nope"}, None, "question_not_found"),
        ({"run_id": "nope"}, None, "run_not_found"),
        ({"run_id": None}, None, "invalid_request"),
    ],
)
async def test_an_answer_on_the_queue_that_cannot_be_taken_is_refused(
    apps: InMemory, change: dict[str, Any], owner: str | None, code: str
) -> None:
    item = await waiting(apps, over_queue=True)
    properties = {} if owner is None else {"aos_owner": owner}
    apps.send(on_the_queue(item, **change), message_id="m-2", properties=properties)
    await apps.settle()
    (reply,) = [json.loads(kept.body) for kept in apps.replies()]
    assert (reply["type"], reply["error"]["code"]) == ("run.refused", code)
    assert len(await commands(apps)) == 1
