"""Malformed requests get JSON-RPC's own errors, and nothing hangs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aos.testing import MemoryWorld
from tests.unit.agent_tools.serving import NEWEST, newest, post

CALL = {"name": "ask_ceo", "arguments": {"message": "Hi"}}
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
BODIES: list[tuple[str, Any]] = [
    ("nothing", b""),
    ("blanks", b"  \n"),
    ("not JSON", b"{jsonrpc}"),
    ("cut off", b'{"jsonrpc": "2.0"'),
    ("two values", b"{} {}"),
    ("UTF-16", json.dumps(PING).encode("utf-16")),
    ("Latin-1", b'{"jsonrpc": "\xfc"}'),
    ("NaN", b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": NaN}}'),
    ("1e999", b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": 1e999}}'),
    ("a lone surrogate", b'{"jsonrpc": "2.0", "id": 1, "method": "\\ud800"}'),
    ("the same name twice", b'{"id": 1, "id": 2}'),
    ("nested too deep", b'{"params": ' + b"[" * 99 + b"]" * 99 + b"}"),
    ("a list", []),
    ("a batch", [PING, PING]),
    ("null", None),
    ("a text", "ping"),
    ("a number", 7),
    ("nothing in it", {}),
    ("no version", {"id": 1, "method": "ping"}),
    ("version 1.0", {**PING, "jsonrpc": "1.0"}),
    ("no method", {"jsonrpc": "2.0", "id": 1}),
    ("a number for a method", {**PING, "method": 7}),
    ("null for a method", {**PING, "method": None}),
    ("an unknown method", {**PING, "method": "agents/run"}),
    ("a method of another server", {**PING, "method": "resources/list"}),
    ("null for an id", {**PING, "id": None}),
    ("an object for an id", {**PING, "id": {}}),
    ("true for an id", {**PING, "id": True}),
    ("a list for an id", {**PING, "id": [1]}),
    ("a fraction for an id", {**PING, "id": 1.5}),
    ("a number for a version", {**PING, "jsonrpc": 2}),
    ("a list for params", {**PING, "params": [1]}),
    ("false for params", {**PING, "params": False}),
    ("a list for a cancellation", {**PING, "method": "notifications/cancelled", "params": []}),
    ("a text for params", {**PING, "params": "x"}),
    ("a response", {"jsonrpc": "2.0", "id": 1, "result": {}}),
]
PARAMS: list[tuple[str, str, dict[str, Any]]] = [
    ("no tool", "tools/call", {}),
    ("a number for a tool", "tools/call", {"name": 7}),
    ("an unknown tool", "tools/call", {"name": "ask_nobody", "arguments": {"message": "a"}}),
    ("a long name", "tools/call", {"name": f"ask_{'a' * 2000}", "arguments": {"message": "a"}}),
    ("a path for a name", "tools/call", {"name": "ask_../ceo", "arguments": {"message": "a"}}),
    ("a tool of another name", "tools/call", {"name": "ceo", "arguments": {"message": "a"}}),
    ("an empty name", "tools/call", {"name": "", "arguments": {}}),
    ("a list for arguments", "tools/call", {"name": "ask_ceo", "arguments": []}),
    ("a text for arguments", "tools/call", {"name": "ask_ceo", "arguments": "Hi"}),
    ("a number for a cursor", "tools/list", {"cursor": 7}),
    ("no task", "tasks/get", {}),
    ("an unknown task", "tasks/get", {"taskId": "0f8fad5b-d9cb-469f-a165-70867728950e"}),
    ("a task that is no id", "tasks/cancel", {"taskId": "x"}),
    ("a list of answers", "tasks/update", {"taskId": "x", "inputResponses": []}),
]


@pytest.fixture
async def world() -> MemoryWorld:
    world = MemoryWorld()
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    return world


@pytest.mark.parametrize("era", ["2025-06-18", NEWEST])
@pytest.mark.parametrize("body", [row[1] for row in BODIES], ids=[row[0] for row in BODIES])
async def test_a_malformed_message_is_an_error_of_json_rpc(
    world: MemoryWorld, body: Any, era: str
) -> None:
    headers = {"mcp-protocol-version": era, "mcp-method": "ping"}
    told = await post(world, body, **headers)
    if told.status == 202:  # the older revisions take a message without an answer
        assert isinstance(body, dict)
        assert "method" not in body, "a request that gets no answer makes its client wait"
        return
    known = isinstance(body, dict) and "method" in body and type(body.get("id")) is int
    assert told.message["id"] == (1 if known else None)
    assert told.status not in (401, 403), told.message
    assert told.message["jsonrpc"] == "2.0"
    assert isinstance(told.message["error"]["code"], int)
    assert told.message["error"]["message"]
    assert not world.tables.requests


@pytest.mark.parametrize(
    ("method", "params"), [row[1:] for row in PARAMS], ids=[row[0] for row in PARAMS]
)
async def test_parameters_that_cannot_be_used_are_an_error_of_the_protocol(
    world: MemoryWorld, method: str, params: dict[str, Any]
) -> None:
    capability = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
    body, headers = newest(method, params, **capability)
    if not isinstance(headers.get("mcp-name"), str):
        headers.pop("mcp-name", None)
    told = await post(world, body, **headers)
    assert told.message["error"]["code"] in (-32600, -32602, -32020, -32001), told.message
    assert len(told.message["error"]["message"]) < 250
    assert not world.tables.requests


async def test_what_is_refused_before_mcp_has_its_status_and_the_same_form(
    world: MemoryWorld,
) -> None:
    for verb in ("GET", "PUT", "DELETE"):
        told = await post(world, b"", verb)
        assert (told.status, told.message["error"]["code"]) == (405, -32600)
    told = await post(world, PING, **{"content-type": "text/plain"})
    assert (told.status, told.message["error"]["data"]["code"]) == (415, "unsupported_media_type")
    told = await post(world, PING, **{"idempotency-key": "naïve"})
    assert (told.status, told.message["error"]["code"]) == (400, -32600)
    keys = MemoryWorld(settings={"AOS_AUTH": "keys"})
    told = await post(keys, PING)
    assert (told.status, told.message["error"]["data"]["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("name", ["start", "wait_until"])
@pytest.mark.parametrize("era", ["2025-06-18", NEWEST])
async def test_a_fault_of_ours_is_told_by_its_id(world: MemoryWorld, name: str, era: str) -> None:
    async def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    setattr(world.main.caller_runs, name, break_down)
    body, headers = newest("tools/call", dict(CALL))
    told = await post(world, body, **{**headers, "mcp-protocol-version": era})
    error = told.message["error"]
    assert (error["code"], error["data"]["code"]) == (-32603, "internal_error")
    assert "secret" not in json.dumps(told.message)
    (logged,) = [line for line in world.telemetry.lines if line["event"] == "http_broken"]
    assert logged["error_id"] == error["data"]["details"]["error_id"]


async def test_a_fault_in_the_middle_of_a_stream_is_its_last_message(world: MemoryWorld) -> None:
    async def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    world.main.caller_runs.wait_until = break_down  # type: ignore[method-assign]
    body, headers = newest("tools/call", {**CALL, "_meta": {"progressToken": "p"}})
    told = await post(world, body, **headers)
    assert len(told.progress) == 1, "the stream has begun"
    assert (told.message["id"], told.message["error"]["code"]) == (1, -32603)
    assert told.message["error"]["data"]["code"] == "internal_error"
    assert "secret" not in str(told.message)
