"""mcp as its function app has it, with a real server behind it, on a world in memory."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import azure.functions as func
import pytest
import pytest_asyncio

from aos.bootstrap.mcp_servers import make_mcp_servers
from aos.domain.envelope import (
    MCP_QUEUE,
    SYSTEM_EVENTS,
    CallTool,
    EnvelopeError,
    to_mcp,
)
from aos.domain.tools.tool import ServerTools
from aos.errors import TransientError
from aos.settings import Settings
from aos.testing.triggers import be_ready, make_trigger_message
from aos.wiring import mcp as wiring
from tests.contract.mcp.kit import NASTY
from tests.unit.entrypoints.laptop_in_memory import (
    DEVELOPMENT,
    InMemory,
    Reply,
    request,
)

ALLOWED = {"AOS_MCP_ALLOWED": f"{sys.executable} {NASTY}"}
RUN = "0f8fad5b-d9cb-469f-a165-70867728950e"
KEY = "a-key"
BY_KEY = {"AOS_AUTH": "keys", "AOS_KEY_OWNERS": f"a={hashlib.sha256(KEY.encode()).hexdigest()}"}


class Mcp:
    """main, realm and mcp in memory; `nasty` is published and exposed."""

    def __init__(self, **settings: str) -> None:
        allowed = {name: settings.get(name, value) for name, value in ALLOWED.items()}
        self.laptop = InMemory(allowed)
        plan = Settings.read({**DEVELOPMENT, **ALLOWED, **settings})
        self.servers = make_mcp_servers(plan)
        world = replace(self.laptop.world, servers=self.servers)
        self.app = wiring.Mcp(
            plan,
            open_world=lambda: world,
            telemetry=self.laptop.telemetry,
            ids=world.ids,
            ready=be_ready,
        )

    async def publish(self, **card: Any) -> None:
        """Upload the card of `nasty`, publish, and hand the event over."""
        body = {"server_id": "nasty", "command": sys.executable, "args": [NASTY], **card}
        await self.laptop.config.write("mcp-servers/nasty.json", json.dumps(body).encode())
        await self.laptop.main.catalog_timer.tick(None)  # type: ignore[arg-type]
        await self.hand_over(SYSTEM_EVENTS, self.app.events.handle)

    async def hand_over(self, entity: str, handle: Any) -> None:
        """Hand over what is in a queue, or on a topic."""
        while (kept := self.laptop.broker.receive(entity)) is not None:
            assert kept.lock is not None
            await handle(make_trigger_message(kept.build_received()))
            self.laptop.broker.complete(kept, kept.lock)

    async def post(self, method: str, **params: Any) -> Any:
        """Ask the exposed server as an MCP client does; the result."""
        reply = await self.ask({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        assert reply.status == 200, reply
        return reply.body["result"]

    async def ask(self, body: object, *, verb: str = "POST", **headers: str) -> Reply:
        """One request to `/api/mcp/nasty`."""
        accept = {"accept": "application/json, text/event-stream", **headers}
        asked = request(verb, body=body, headers=accept, parts={"server_id": "nasty"})
        response: func.HttpResponse = await self.app.exposed.serve(asked)
        raw = response.get_body()
        return Reply(response.status_code, dict(response.headers), json.loads(raw) if raw else None)


@pytest_asyncio.fixture
async def mcp() -> AsyncIterator[Mcp]:
    made = Mcp()
    yield made
    await made.servers.close()


async def test_a_published_server_is_listed_and_its_tools_are_called_from_the_queue(
    mcp: Mcp,
) -> None:
    await mcp.publish()
    row = mcp.laptop.tables.tools["nasty"]
    assert (row.state, row.error) == ("ready", None)
    assert "echo" in {tool.name for tool in row.tools}
    deadline = mcp.laptop.clock.now() + timedelta(seconds=60)
    command = CallTool(
        run_id=RUN,
        conversation_id="talk",
        tool_call_id="call_0f8fad5b_0_0",
        agent_id="ceo",
        server_id="nasty",
        tool="echo",
        arguments={"text": "hi"},
        deadline=deadline,
    )
    await mcp.laptop.bus.send(to_mcp(command))
    await mcp.hand_over(MCP_QUEUE, mcp.app.commands.handle)
    (kept,) = mcp.laptop.broker.messages("aos-realm")
    result = json.loads(kept.body)
    assert kept.session_id == "talk"
    assert result["command_id"] == f"{RUN}:call_0f8fad5b_0_0:result"
    assert (result["outcome"], result["content"]) == ("ok", "hi")


async def test_what_a_failing_server_prints_is_in_its_row_and_neither_logged_nor_told_a_model(
    mcp: Mcp,
) -> None:
    await mcp.publish(args=[NASTY, "--at-start", "crash"], env={"TOKEN": "tok_planted_0123"})
    row = mcp.laptop.tables.tools["nasty"]
    assert row.state == "failed"
    assert "last output: cannot go on: ***" in str(row.error)
    command = CallTool(
        run_id=RUN,
        conversation_id="talk",
        tool_call_id="call_0f8fad5b_0_0",
        agent_id="ceo",
        server_id="nasty",
        tool="echo",
        arguments={},
        deadline=mcp.laptop.clock.now() + timedelta(seconds=60),
    )
    await mcp.laptop.bus.send(to_mcp(command))
    await mcp.hand_over(MCP_QUEUE, mcp.app.commands.handle)
    (kept,) = mcp.laptop.broker.messages("aos-realm")
    result = json.loads(kept.body)
    assert (result["outcome"], result["content"]) == (
        "not_called",
        "The tool was not called: the MCP server 'nasty' is not available now.",
    )
    telemetry = mcp.laptop.telemetry
    assert {"mcp_server_failed", "tool_not_called"} <= {line["event"] for line in telemetry.lines}
    for written in (*telemetry.lines, *telemetry.custom_events):
        assert "cannot go on" not in str(written)
        assert "tok_planted" not in str(written)


async def test_what_does_not_belong_on_the_queue_is_not_taken(mcp: Mcp) -> None:
    mcp.laptop.broker.send(
        MCP_QUEUE,
        json.dumps({"type": "ContinueRun", "run_id": "r", "conversation_id": "c"}).encode(),
        message_id="m",
    )
    with pytest.raises(EnvelopeError, match="does not belong on aos-mcp"):
        await mcp.hand_over(MCP_QUEUE, mcp.app.commands.handle)


@pytest.mark.parametrize(
    "body", [b"\xff", b"[]", b"[" * 3000, b'{"type": "run.completed"}', b'{"data": 3}']
)
async def test_other_events_are_passed_over(mcp: Mcp, body: bytes) -> None:
    mcp.laptop.broker.send(SYSTEM_EVENTS, body, message_id="m")
    await mcp.hand_over(SYSTEM_EVENTS, mcp.app.events.handle)
    assert mcp.laptop.tables.tools == {}


async def test_the_timer_lists_what_no_event_told_of(mcp: Mcp) -> None:
    await mcp.publish()
    mcp.laptop.tables.tools.clear()
    await mcp.app.listing_timer.tick(None)  # type: ignore[arg-type]
    assert mcp.laptop.tables.tools["nasty"].state == "ready"


async def test_an_event_that_storage_was_away_for_is_left_to_the_timer(mcp: Mcp) -> None:
    listed = mcp.laptop.world.tools

    async def away() -> list[ServerTools]:
        raise TransientError("storage is away")

    list_servers, listed.list_servers = listed.list_servers, away  # type: ignore[method-assign]
    await mcp.publish()
    listed.list_servers = list_servers  # type: ignore[method-assign]
    await mcp.app.listing_timer.tick(None)  # type: ignore[arg-type]
    assert mcp.laptop.tables.tools["nasty"].state == "ready"


async def test_an_exposed_server_speaks_mcp_to_outsiders(mcp: Mcp) -> None:
    await mcp.publish(expose=True, tools=["echo", "fails", "picture"])
    about = await mcp.post(
        "initialize",
        protocolVersion="2025-06-18",
        capabilities={},
        clientInfo={"name": "someone", "version": "1"},
    )
    assert about["serverInfo"]["name"] == "nasty"
    noted = await mcp.ask({"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert noted.status == 202
    listed = await mcp.post("tools/list")
    assert [tool["name"] for tool in listed["tools"]] == ["echo", "picture", "fails"]
    assert listed["tools"][0]["annotations"]["readOnlyHint"] is True
    called = await mcp.post("tools/call", name="echo", arguments={"text": "hi"})
    assert (called["content"], called["isError"]) == ([{"type": "text", "text": "hi"}], False)
    failed = await mcp.post("tools/call", name="fails", arguments={})
    assert failed["isError"] is True
    picture = await mcp.post("tools/call", name="picture", arguments={})
    assert [part["type"] for part in picture["content"]] == ["text", "image"]
    forbidden = await mcp.post("tools/call", name="env", arguments={})
    assert forbidden["isError"] is True
    assert "there is no tool 'env' here" in forbidden["content"][0]["text"]
    rows = mcp.laptop.tables.tool_calls.values()
    assert [row.tool for row in rows] == ["echo", "fails", "picture"]
    assert all(row.result is not None for row in rows)


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize(
    "grant",
    [
        {"server": "nasty", "approval": "always"},
        {"server": "nasty", "tools": ["echo"], "approval": "always"},
    ],
    ids=["every tool", "one tool"],
)
async def test_a_tool_that_needs_a_persons_decision_is_not_called_by_outsiders(
    mcp: Mcp, grant: dict[str, Any], enabled: bool
) -> None:
    card = {"agent_id": "ceo", "purpose": "Lead.", "mcp_tools": [grant], "enabled": enabled}
    await mcp.laptop.put(card)
    await mcp.laptop.put({"agent_id": "cfo", "purpose": "Count.", "mcp_tools": ["nasty"]})
    await mcp.publish(expose=True, tools=["echo", "picture"])
    listed = [tool["name"] for tool in (await mcp.post("tools/list"))["tools"]]
    assert listed == (["picture"] if "tools" in grant else [])
    called = await mcp.post("tools/call", name="echo", arguments={"text": "hi"})
    assert called["isError"] is True
    assert "needs a person's decision" in called["content"][0]["text"]
    assert mcp.laptop.tables.tool_calls == {}


@pytest.mark.parametrize(
    "arguments",
    [b'{"text": 1e999}', b'{"text": NaN}', b'{"text": "\\ud800"}', b"[" * 5000, b'{"a":1,"a":2}'],
    ids=["1e999", "NaN", "half a pair", "deep", "twice"],
)
async def test_outsiders_send_the_json_that_aos_takes_everywhere(
    mcp: Mcp, arguments: bytes
) -> None:
    await mcp.publish(expose=True)
    params = b'{"name": "echo", "arguments": ' + arguments + b"}"
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": ' + params + b"}"
    reply = await mcp.ask(body)
    assert (reply.status, reply.body["error"]["code"]) == (400, "invalid_request")
    assert mcp.laptop.tables.tool_calls == {}


async def test_only_post_is_served(mcp: Mcp) -> None:
    await mcp.publish(expose=True)
    for verb in ("GET", "DELETE", "PUT"):
        reply = await mcp.ask(b"", verb=verb)
        assert (reply.status, reply.headers["Allow"]) == (405, "POST")


async def test_a_server_is_not_exposed_unless_its_card_says_so(mcp: Mcp) -> None:
    await mcp.publish()
    reply = await mcp.ask({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert reply.status == 404
    assert reply.body["error"]["code"] == "server_not_found"


async def test_outsiders_need_a_key() -> None:
    mcp = Mcp(**BY_KEY)
    try:
        await mcp.publish(expose=True)
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        assert (await mcp.ask(body)).status == 401
        assert (await mcp.ask(body, **{"x-functions-key": KEY})).status == 200
    finally:
        await mcp.servers.close()
