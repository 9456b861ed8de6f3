"""Tools and approvals over HTTP and on the queue."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from aos.domain.envelope import CallTool, ToolResult, read_command, to_realm
from aos.domain.tools.tool import ServerTools, ToolSchema
from aos.testing import Calls
from tests.unit.entrypoints.laptop_in_memory import InMemory, Reply, call

SERVER = {
    "server_id": "github",
    "command": "npx",
    "args": ["-y", "@modelcontextprotocol/server-github"],
}
CARD = {
    "agent_id": "ceo",
    "purpose": "Lead.",
    "mcp_tools": [{"server": "github", "tools": ["create_issue"], "approval": "always"}],
}
CREATE = Calls(("github__create_issue", {"title": "Grüße"}), text="Shall I?")
SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}}
GITHUB = ServerTools(
    server_id="github",
    state="ready",
    tools=(
        ToolSchema(
            name="create_issue",
            description="Creates one.",
            input_schema=SCHEMA,
            annotations={"readOnlyHint": False},
        ),
    ),
    listed_at=datetime(2030, 1, 1, tzinfo=UTC),
)


async def waiting(apps: InMemory, *, over_queue: bool = False) -> dict[str, Any]:
    """A run whose call of `create_issue` waits for a decision: as /api/approvals lists it."""
    await apps.config.write("mcp-servers/github.json", json.dumps(SERVER).encode())
    await apps.world.tools.put(GITHUB)
    await apps.put(CARD)
    apps.model.then(CREATE, "It is done.")
    if over_queue:
        apps.send({"agent_id": "ceo", "message": "Do it."})
    else:
        await apps.ask({"message": "Do it.", "conversation_id": "c", "wait_seconds": 0})
    await apps.settle()
    listed = await call(apps.main.tools.approvals)
    (item,) = listed.body["items"]
    return dict(item)


async def decide(apps: InMemory, item: dict[str, Any], body: object, **more: Any) -> Reply:
    """POST a decision about it."""
    parts = {"run_id": item["run_id"], "tool_call_id": item["tool_call_id"]}
    return await call(apps.main.tools.decide, "POST", body=body, parts={**parts, **more})


async def made(apps: InMemory) -> CallTool:
    """The one call that mcp is told to make; its result comes at once."""
    (kept,) = apps.broker.messages("aos-mcp")
    command = read_command(kept.body)
    assert isinstance(command, CallTool)
    result = ToolResult(
        run_id=command.run_id,
        conversation_id=command.conversation_id,
        tool_call_id=command.tool_call_id,
        outcome="ok",
        content="#1",
    )
    await apps.bus.send(to_realm(result))
    await apps.settle()
    return command


async def test_tools_are_listed_with_state_and_schemas(apps: InMemory) -> None:
    await apps.world.tools.put(GITHUB)
    reply = await call(apps.main.tools.list)
    assert reply.body == {
        "items": [
            {
                "server_id": "github",
                "state": "ready",
                "error": None,
                "tools": [
                    {
                        "name": "create_issue",
                        "description": "Creates one.",
                        "inputSchema": SCHEMA,
                        "annotations": {"readOnlyHint": False},
                    }
                ],
                "listed_at": "2030-01-01T00:00:00.000Z",
            }
        ],
        "next": None,
    }


async def test_tools_are_paged(apps: InMemory) -> None:
    for name in ("a", "b", "c"):
        await apps.world.tools.put(ServerTools(server_id=name, state="starting"))
    first = await call(apps.main.tools.list, query="limit=2")
    assert [item["server_id"] for item in first.body["items"]] == ["a", "b"]
    _, _, query = first.body["next"].partition("?")
    rest = await call(apps.main.tools.list, query=query)
    assert [item["server_id"] for item in rest.body["items"]] == ["c"]


async def test_a_call_that_waits_is_listed_and_its_run_says_so(apps: InMemory) -> None:
    item = await waiting(apps)
    assert item["tool"] == "github/create_issue"
    assert item["arguments"] == {"title": "Grüße"}
    assert item["tool_call_id"] == f"call_{item['run_id'][:8]}_0_0"
    run = await call(apps.main.runs.get, parts={"run_id": item["run_id"]})
    assert run.body["status"] == "waiting_approval"


async def test_an_approved_call_is_made_and_the_messages_show_it(apps: InMemory) -> None:
    item = await waiting(apps)
    reply = await decide(apps, item, {"decision": "approve", "reason": "Go."})
    assert (reply.status, reply.body["decision"], reply.body["decided_by"]) == (
        200,
        "approve",
        "local",
    )
    await apps.settle()
    command = await made(apps)
    assert (command.server_id, command.tool, command.arguments) == (
        "github",
        "create_issue",
        {"title": "Grüße"},
    )
    shown = await call(apps.main.conversations.messages, parts={"conversation_id": "c"})
    question, asked, result, answer = shown.body["items"]
    assert set(question) == set(answer) == {"role", "content", "run_id", "created_at"}
    assert asked["tool_calls"] == [
        {
            "tool_call_id": item["tool_call_id"],
            "name": "github__create_issue",
            "arguments": '{"title": "Gr\\u00fc\\u00dfe"}',
        }
    ]
    assert (result["role"], result["content"], result["tool_call_id"]) == (
        "tool",
        "#1",
        item["tool_call_id"],
    )
    assert answer["content"] == "It is done."


async def test_of_two_decisions_one_is_200_and_the_next_409(apps: InMemory) -> None:
    item = await waiting(apps)
    assert (await decide(apps, item, {"decision": "deny"})).status == 200
    again = await decide(apps, item, {"decision": "deny"})
    assert (again.status, again.code) == (409, "already_decided")


@pytest.mark.parametrize(
    "body",
    [{}, {"decision": "maybe"}, {"decision": "approve", "reason": 1}, [], b"{"],
    ids=["empty", "maybe", "a number for a reason", "a list", "no JSON"],
)
async def test_a_malformed_decision_is_400(apps: InMemory, body: object) -> None:
    item = await waiting(apps)
    reply = await decide(apps, item, body)
    assert (reply.status, reply.code) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"run_id": "nope"}, "run_not_found"),
        ({"run_id": "3f1d1a52-0000-4000-8000-000000000000"}, "run_not_found"),
        ({"tool_call_id": "nope"}, "tool_call_not_found"),
        ({"tool_call_id": "call_00000000_0_0"}, "tool_call_not_found"),
    ],
)
async def test_what_does_not_wait_is_404(apps: InMemory, parts: dict[str, str], code: str) -> None:
    item = await waiting(apps)
    reply = await decide(apps, item, {"decision": "approve"}, **parts)
    assert (reply.status, reply.code) == (404, code)


async def test_a_decision_on_the_queue_has_no_reply_but_the_runs_own(apps: InMemory) -> None:
    item = await waiting(apps, over_queue=True)
    decision = {
        "type": "approval.decide",
        "run_id": item["run_id"],
        "tool_call_id": item["tool_call_id"],
        "decision": "approve",
    }
    apps.send(decision, message_id="m-2")
    await apps.settle()
    await made(apps)
    (reply,) = [json.loads(kept.body) for kept in apps.replies()]
    assert (reply["type"], reply["output"]) == ("run.completed", "It is done.")


async def test_a_decision_that_is_delivered_again_is_not_refused(apps: InMemory) -> None:
    item = await waiting(apps, over_queue=True)
    decision = {
        "type": "approval.decide",
        "run_id": item["run_id"],
        "tool_call_id": item["tool_call_id"],
        "decision": "approve",
    }
    for _ in range(2):
        apps.send(decision, message_id="m-2")
    await apps.settle()
    await made(apps)
    assert [json.loads(kept.body)["type"] for kept in apps.replies()] == ["run.completed"]
    apps.send({**decision, "decision": "deny"}, message_id="m-2")
    apps.send(decision, message_id="m-3")
    await apps.settle()
    answers = [json.loads(kept.body) for kept in apps.replies()][1:]
    assert [answer["error"]["code"] for answer in answers] == ["already_decided"] * 2


async def test_a_decision_of_another_owner_on_the_queue_is_refused(apps: InMemory) -> None:
    item = await waiting(apps, over_queue=True)
    decision = {
        "type": "approval.decide",
        "run_id": item["run_id"],
        "tool_call_id": item["tool_call_id"],
        "decision": "approve",
    }
    apps.send(decision, message_id="m-2", properties={"aos_owner": "bob"})
    await apps.settle()
    (reply,) = [json.loads(kept.body) for kept in apps.replies()]
    assert (reply["type"], reply["run_id"], reply["error"]["code"]) == (
        "run.refused",
        item["run_id"],
        "run_not_found",
    )
    assert apps.broker.messages("aos-mcp") == []


@pytest.mark.parametrize(
    "change",
    [{"decision": "maybe"}, {"tool_call_id": "nope"}, {"run_id": "nope"}, {"run_id": None}],
)
async def test_a_malformed_decision_on_the_queue_is_refused(
    apps: InMemory, change: dict[str, Any]
) -> None:
    item = await waiting(apps)
    decision = {
        "type": "approval.decide",
        "run_id": item["run_id"],
        "tool_call_id": item["tool_call_id"],
        "decision": "approve",
        **change,
    }
    apps.send(decision)
    await apps.settle()
    (reply,) = [json.loads(kept.body) for kept in apps.replies()]
    assert reply["type"] == "run.refused"
    assert reply["error"]["code"] in (
        "invalid_request",
        "tool_call_not_found",
        "run_not_found",
    )
