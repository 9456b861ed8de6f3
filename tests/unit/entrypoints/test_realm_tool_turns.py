"""What realm reads, writes and sends for a turn with a tool, and what another instance does."""

from __future__ import annotations

import json

import pytest

from aos.domain.envelope import MCP_QUEUE, CallTool, ContinueRun, ToolResult, read_command, to_realm
from aos.domain.runs.conversation import MAX_KEPT_OUTBOX
from aos.domain.tools.tool import ServerTools, ToolSchema
from aos.testing import Calls
from tests.unit.entrypoints.laptop_in_memory import InMemory
from tests.unit.entrypoints.test_realm_turns import Recorder, ask, head_of

SERVER = {"server_id": "box", "command": "npx", "args": ["-y", "@modelcontextprotocol/server-box"]}
LOOK = ("box__look", {})
BEGUN = ["conversations.load", "conversations.save", "requests.find"]


@pytest.fixture
async def tooled(apps: InMemory) -> InMemory:
    """An agent with a tool, and a realm that knows it already."""
    await apps.config.write("mcp-servers/box.json", json.dumps(SERVER).encode())
    await apps.put({"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": ["box"]})
    listed = ServerTools(
        server_id="box",
        state="ready",
        tools=(ToolSchema(name="look"),),
        listed_at=apps.clock.now(),
    )
    apps.tables.tools["box"] = listed
    return apps


async def call(apps: InMemory, *calls: tuple[str, dict[str, str]]) -> str:
    """A run that waits for the results of these calls."""
    apps.model.then(Calls(*calls), "done")
    run_id = await ask(apps)
    await apps.settle()
    return run_id


def take_commands(apps: InMemory) -> list[CallTool]:
    """The CallTools that realm has sent since the last look."""
    found = []
    while (kept := apps.broker.receive(MCP_QUEUE)) is not None:
        command = read_command(kept.body)
        assert isinstance(command, CallTool)
        assert kept.lock is not None
        apps.broker.complete(kept, kept.lock)
        found.append(command)
    return found


async def answer(apps: InMemory, command: CallTool) -> None:
    """Send the result of a call, and let realm take it."""
    result = ToolResult(
        run_id=command.run_id,
        conversation_id=command.conversation_id,
        tool_call_id=command.tool_call_id,
        outcome="ok",
        content="seen",
    )
    await apps.bus.send(to_realm(result))
    await apps.settle()


def shown_outputs(apps: InMemory) -> list[str]:
    return [run.output for run in apps.tables.conversations["board"].runs.values()]


async def test_a_turn_with_a_tool_is_two_saves_and_one_read_of_the_head(tooled: InMemory) -> None:
    realm = Recorder(tooled)
    await call(tooled, LOOK)
    assert sorted(set(realm.take_calls()) - {"tools.find"}) == BEGUN
    (command,) = take_commands(tooled)
    await answer(tooled, command)
    assert realm.take_calls() == ["conversations.save"]
    assert shown_outputs(tooled) == ["done"]


async def test_what_was_sent_stays_in_the_head_and_is_not_sent_again(tooled: InMemory) -> None:
    realm = Recorder(tooled)
    await call(tooled, LOOK)
    (command,) = take_commands(tooled)
    kinds = [type(outgoing.command) for outgoing in head_of(tooled).outbox]
    assert kinds == [CallTool, ContinueRun]
    await answer(tooled, command)
    await ask(tooled, "Again?")
    await tooled.settle()
    assert realm.sent.count(command.command_id) == 1
    assert take_commands(tooled) == []


async def test_long_arguments_do_not_stay_in_the_head(tooled: InMemory) -> None:
    await call(tooled, ("box__look", {"at": "x" * MAX_KEPT_OUTBOX}))
    assert head_of(tooled).outbox == ()


async def test_another_instance_reads_the_head_and_does_not_repeat_the_call(
    tooled: InMemory,
) -> None:
    await call(tooled, LOOK)
    (command,) = take_commands(tooled)
    other = Recorder(tooled)
    await answer(tooled, command)
    assert other.take_calls().count("conversations.load") == 1
    assert take_commands(tooled) == []
    assert shown_outputs(tooled) == ["done"]


async def test_another_instance_sends_what_it_cannot_know_to_be_sent_and_empties_the_outbox(
    tooled: InMemory,
) -> None:
    """The call whose result came was sent; mcp finds the row of the other one."""
    await call(tooled, LOOK, LOOK)
    first, second = take_commands(tooled)
    Recorder(tooled)
    await answer(tooled, first)
    assert take_commands(tooled) == [second]
    assert head_of(tooled).outbox == ()
    await answer(tooled, second)
    assert shown_outputs(tooled) == ["done"]


async def test_a_head_that_another_instance_has_written_is_not_gone_on_from(
    tooled: InMemory,
) -> None:
    realm = tooled.realm
    await call(tooled, LOOK, LOOK)
    first, second = take_commands(tooled)
    Recorder(tooled)
    await answer(tooled, first)
    tooled.realm = realm
    await answer(tooled, second)
    assert shown_outputs(tooled) == ["done"]
    messages = tooled.tables.conversations["board"].messages
    assert [messages[n].content for n in sorted(messages)][-3:] == ["seen", "seen", "done"]
