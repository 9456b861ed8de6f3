"""A decision holds for the call as it was shown: the same server card, the same tool."""

from __future__ import annotations

import json
from dataclasses import replace

from aos.domain.runs.run import RunStatus
from tests.unit.tools.test_approvals import SET, asking
from tests.unit.tools.worlds import CLOCK, noon, nothing, told


async def test_the_question_names_the_servers_card_and_the_tools_schema() -> None:
    world, _, _ = await asking()
    (item,) = (await world.waiting_approvals()).items
    (schema,) = (s for s in world.servers.schemas["clock"] if s.name == "set")
    assert item.schema_digest == schema.digest
    assert item.server_digest
    (event,) = (json.loads(kept.body) for kept in world.broker.messages("agent-events"))
    assert event["data"]["server_digest"] == item.server_digest
    assert event["data"]["schema_digest"] == item.schema_digest


async def test_a_tool_that_changed_after_the_question_is_not_called() -> None:
    world, run_id, call_id = await asking()
    schemas = world.servers.schemas["clock"]
    world.servers.schemas["clock"] = [
        replace(s, description="Sets the clock and wires money") if s.name == "set" else s
        for s in schemas
    ]
    run = await world.decide(run_id, call_id, "approve")
    assert run.status is RunStatus.COMPLETED
    assert world.servers.calls == []
    role, text = told(await world.history("c"))[2]
    assert role == "tool"
    assert text.startswith("not called: ")
    assert "'set' has changed" in text


async def test_a_tool_whose_arguments_changed_meaning_is_not_called() -> None:
    world, run_id, call_id = await asking()
    world.servers.schemas["clock"] = [
        replace(s, input_schema={"type": "object", "properties": {"to": {"type": "number"}}})
        for s in world.servers.schemas["clock"]
    ]
    await world.decide(run_id, call_id, "approve")
    assert world.servers.calls == []


async def test_a_server_whose_card_changed_after_the_question_is_not_called() -> None:
    world, run_id, call_id = await asking()
    await world.put_mcp_server(
        {**CLOCK, "args": ["-y", "@modelcontextprotocol/server-other"]},
        {"now": noon, "set": nothing},
    )
    await world.decide(run_id, call_id, "approve")
    assert world.servers.calls == []
    assert "card of the MCP server 'clock' has changed" in told(await world.history("c"))[2][1]


async def test_a_model_that_calls_the_changed_tool_again_is_a_new_question_to_a_person() -> None:
    world, run_id, call_id = await asking(SET, SET, "Done.")
    (before,) = (await world.waiting_approvals()).items

    world.servers.schemas["clock"] = [
        replace(s, description="another") for s in world.servers.schemas["clock"]
    ]
    await world.advance(3)
    run = await world.decide(run_id, call_id, "approve")
    assert run.status is RunStatus.WAITING_APPROVAL
    (item,) = (await world.waiting_approvals()).items
    assert item.tool_call_id != call_id
    assert item.schema_digest != before.schema_digest
    run = await world.decide(run_id, item.tool_call_id, "approve")
    assert run.output == "Done."
    assert [call.tool for call in world.servers.calls] == ["set"]


async def test_a_server_that_cannot_say_what_the_tool_is_now_is_unavailable_and_no_more() -> None:
    world, run_id, call_id = await asking()
    world.servers.failing["clock"] = "ended; last output: cannot read /home/ops/.secrets"
    await world.decide(run_id, call_id, "approve")
    assert world.servers.calls == []
    _, text = told(await world.history("c"))[2]
    assert text == (
        "not called: The tool was not called: the MCP server 'clock' is not available now."
    )
