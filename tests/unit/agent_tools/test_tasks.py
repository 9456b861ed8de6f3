"""Long runs are tasks for clients that know tasks, and ask people through them."""

from __future__ import annotations

from typing import Any

import pytest

from aos.entrypoints.http.agent_tools import calls
from aos.testing import Calls, MemoryWorld, ScriptedModel
from tests.unit.agent_tools.serving import Told, newest, post
from tests.unit.entrypoints.keys import list_keys
from tests.unit.tools.test_questions import SEAT, which_seat
from tests.unit.tools.worlds import CLOCK, nothing

TASKS = {"io.modelcontextprotocol/tasks": {}}
SET = Calls(("clock__set", {"to": "noon"}))
GUARDED = [{"server": "clock", "tools": ["set"], "approval": "always"}]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "TASK_AFTER_SECONDS", 0.3)


async def asking(*answers: Any, tool: Any = nothing, grants: Any = GUARDED) -> MemoryWorld:
    world = MemoryWorld(model=ScriptedModel(*answers))
    await world.put_mcp_server(CLOCK, {"set": tool})
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": grants})
    return world


async def ask(world: MemoryWorld, method: str, params: Any, **more: Any) -> Told:
    capabilities = {"extensions": TASKS, "elicitation": {"form": {}}, **more}
    body, headers = newest(method, params, **capabilities)
    told = await post(world, body, **headers)
    await world.settle()
    return told


async def begin(world: MemoryWorld, **more: Any) -> dict[str, Any]:
    call = {"name": "ask_ceo", "arguments": {"message": "Set it."}}
    result = (await ask(world, "tools/call", call, **more)).result
    assert result["resultType"] == "task"
    return result


async def test_a_run_that_ends_soon_is_no_task() -> None:
    world = await asking("Done.")
    call = {"name": "ask_ceo", "arguments": {"message": "Hi"}}
    result = (await ask(world, "tools/call", call)).result
    assert (result["resultType"], result["content"][0]["text"]) == ("complete", "Done.")


async def test_a_decision_is_asked_of_the_client_and_the_task_is_completed() -> None:
    world = await asking(SET, "Done.")
    task = await begin(world)
    assert (task["status"], task["ttlMs"]) == ("input_required", None)
    ((key, asked),) = task["inputRequests"].items()
    assert asked["method"] == "elicitation/create"
    assert "clock/set" in asked["params"]["message"]
    given = {key: {"action": "accept", "content": {"approved": True}}}
    update = {"taskId": task["taskId"], "inputResponses": given}
    assert (await ask(world, "tasks/update", update)).result["resultType"] == "complete"
    found = (await ask(world, "tasks/get", {"taskId": task["taskId"]})).result
    assert (found["status"], found["resultType"]) == ("completed", "complete")
    assert found["result"]["content"] == [{"type": "text", "text": "Done."}]
    assert [call.tool for call in world.servers.calls] == ["set"]


@pytest.mark.parametrize(
    "answer",
    [
        {"action": "accept", "content": {"approved": False, "reason": "No."}},
        {"action": "decline", "content": {"approved": True}},
        {"action": "cancel"},
    ],
)
async def test_what_is_not_approved_is_denied(answer: Any) -> None:
    world = await asking(SET, "Done.")
    task = await begin(world)
    (key,) = task["inputRequests"]
    given = {key: answer, "approval:call_x": answer, "other": 7}
    await ask(world, "tasks/update", {"taskId": task["taskId"], "inputResponses": given})
    found = (await ask(world, "tasks/get", {"taskId": task["taskId"]})).result
    assert found["status"] == "completed"
    assert world.servers.calls == []


async def test_a_tools_question_is_asked_with_its_form() -> None:
    world = await asking(SET, "Done.", tool=which_seat, grants=["clock"])
    task = await begin(world)
    ((key, asked),) = task["inputRequests"].items()
    assert asked["params"]["requestedSchema"] == SEAT
    update: dict[str, Any] = {"taskId": task["taskId"]}
    wrong = {key: {"action": "accept", "content": {"seat": "too long"}}}
    told = await ask(world, "tasks/update", {**update, "inputResponses": wrong})
    assert told.message["error"]["code"] == -32602
    right = {key: {"action": "accept", "content": {"seat": "12A"}}}
    await ask(world, "tasks/update", {**update, "inputResponses": right})
    history = await world.history((await world.run(task["taskId"])).conversation_id)
    assert "accept: 12A at noon" in [message.content for message in history]


async def test_a_client_that_cannot_ask_a_person_is_told_what_the_run_waits_for() -> None:
    world = await asking(SET, "Done.")
    task = await begin(world, elicitation=None)
    assert task["status"] == "working"
    assert "clock/set" in task["statusMessage"]


async def test_a_cancelled_task_is_cancelled() -> None:
    world = await asking(SET, "Done.")
    task = await begin(world)
    await ask(world, "tasks/cancel", {"taskId": task["taskId"]})
    found = (await ask(world, "tasks/get", {"taskId": task["taskId"]})).result
    assert found["status"] == "cancelled"


async def test_a_header_that_names_another_task_is_refused() -> None:
    world = await asking("Hi.")
    body, headers = newest("tasks/get", {"taskId": "a"}, extensions=TASKS)
    told = await post(world, body, **{**headers, "mcp-name": "b"})
    assert told.message["error"]["code"] == -32020


async def test_tasks_are_for_clients_that_declare_them_and_for_their_owner() -> None:
    world = await asking(SET, "Done.")
    task = await begin(world)
    told = await ask(world, "tasks/get", {"taskId": task["taskId"]}, extensions=None)
    assert told.message["error"]["code"] == -32021
    keys = MemoryWorld(settings={"AOS_AUTH": "keys", "AOS_KEY_OWNERS": list_keys("bob")})
    body, headers = newest("tasks/get", {"taskId": task["taskId"]}, extensions=TASKS)
    told = await post(keys, body, **headers, **{"x-functions-key": "bob"})
    assert told.message["error"]["code"] == -32602
