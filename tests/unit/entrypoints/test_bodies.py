"""A body that Azure's host does not hand over is asked for again, with its length."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import Any

import azure.functions as func
import pytest

from aos.entrypoints.routes import MAIN_ROUTES
from tests.unit.entrypoints.laptop_in_memory import InMemory
from tests.unit.entrypoints.test_mcp import Mcp

CHUNKED = {"transfer-encoding": "chunked"}
PARTS = {
    "agent_id": "ceo",
    "server_id": "nasty",
    "run_id": "0f8fad5b-d9cb-469f-a165-70867728950e",
    "tool_call_id": "call_0f8fad5b_0_0",
    "question_id": "call_0f8fad5b_0_0",
    "path": "nothing/here",
}


OTHER_PROTOCOLS = (
    "mcp",
    "a2a",
)
"""The tags of routes whose errors have the form of another protocol; their own tests look."""


def routes(apps: InMemory) -> dict[str, Any]:
    """Main's functions that take a method with a body, by route name."""
    main = apps.main
    return {
        "run_agent": main.runs.start,
        "cancel_run": main.runs.cancel,
        "replay_run": main.replays.one,
        "replay_runs": main.replays.many,
        "replay_dead_letter": main.dead_letters.replay,
        "decide_approval": main.tools.decide,
        "answer_question": main.questions.answer,
        "put_agent": main.agents.put,
        "rollback_agent": main.agents.rollback,
        "put_mcp_server": main.mcp_servers.put,
        "rollback_mcp_server": main.mcp_servers.rollback,
        "ag_ui_run": main.ag_ui.run,
        "pause": main.operations.pause,
        "resume": main.operations.resume,
    }


async def send(
    route: Any, method: str, headers: Mapping[str, str], body: bytes = b""
) -> tuple[int, dict[str, Any]]:
    """The status and the error of a request that arrives with just these headers."""
    asked = func.HttpRequest(
        method=method,
        url="http://127.0.0.1:7071/api/x",
        headers={"content-type": "application/json", **headers},
        params={},
        route_params=PARTS,
        body=body,
    )
    response = await route(asked)
    raw = response.get_body()
    return response.status_code, (json.loads(raw or b"null") or {}).get("error", {})


def test_every_route_that_takes_a_body_is_looked_at_here(apps: InMemory) -> None:
    assert set(routes(apps)) == {
        name
        for name, route in MAIN_ROUTES.items()
        if route.method in ("POST", "PUT") and route.tag not in OTHER_PROTOCOLS
    }


async def test_a_chunked_body_is_411_and_the_answer_says_what_to_send(apps: InMemory) -> None:
    for name, route in routes(apps).items():
        status, error = await send(route, MAIN_ROUTES[name].method, CHUNKED)
        assert (status, error["code"], error["type"]) == (411, "length_required", "caller"), name
        assert error["retryable"] is False
        assert "send the body with Content-Length" in error["message"]
        assert "LoadIntoBufferAsync()" in error["message"]


async def test_neither_a_body_nor_a_length_is_411_where_a_body_is_needed(apps: InMemory) -> None:
    needed = {name for name, route in MAIN_ROUTES.items() if route.needs_body}
    assert set(routes(apps)) - needed == {"cancel_run", "replay_run", "pause", "resume"}
    for name in needed:
        status, error = await send(routes(apps)[name], MAIN_ROUTES[name].method, {})
        assert (status, error["code"]) == (411, "length_required"), name


async def test_a_body_whose_length_is_nothing_is_an_empty_body(apps: InMemory) -> None:
    status, error = await send(apps.main.runs.start, "POST", {"content-length": "0"})
    assert (status, error["code"]) == (400, "invalid_request")


async def test_a_cancel_needs_no_body_and_no_length(apps: InMemory) -> None:
    for headers in ({}, {"content-length": "0"}):
        status, error = await send(apps.main.runs.cancel, "POST", headers)
        assert (status, error["code"]) == (404, "run_not_found")


async def test_a_body_that_a_front_end_gave_its_length_is_read(apps: InMemory) -> None:
    body = b'{"message": "Hello", "wait_seconds": 0}'
    for headers in ({"content-length": str(len(body))}, CHUNKED, {}):
        assert (await send(apps.main.runs.start, "POST", headers, body))[0] == 202


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_a_method_without_a_body_is_answered_as_ever(apps: InMemory, method: str) -> None:
    assert (await send(apps.main.runs.list, method, CHUNKED))[0] == 200


async def test_an_unknown_path_is_404_whatever_comes_with_it(apps: InMemory) -> None:
    status, error = await send(apps.main.contract.not_found, "POST", CHUNKED)
    assert (status, error["code"]) == (404, "not_found")


async def test_who_may_not_ask_is_401_before_the_body_is_looked_at() -> None:
    locked = InMemory({"AOS_AUTH": "keys"})
    status, error = await send(locked.main.runs.start, "POST", CHUNKED)
    assert (status, error["code"]) == (401, "unauthorized")


async def test_the_exposed_mcp_door_asks_for_a_length_too() -> None:
    serve = Mcp().app.exposed.serve
    for headers in (CHUNKED, {}):
        status, error = await send(serve, "POST", headers)
        assert (status, error["code"]) == (411, "length_required")
        assert "Content-Length" in error["message"]
    assert (await send(serve, "PUT", CHUNKED))[0] == 405
    assert (await send(serve, "POST", {"content-length": "0"}))[1]["code"] == "server_not_found"


@pytest.mark.parametrize("encoding", ["gzip", "GZip", "br", "deflate, gzip"])
async def test_an_encoded_body_is_415_and_names_the_header(apps: InMemory, encoding: str) -> None:
    body = gzip.compress(b'{"message": "Hello"}')
    reply = await apps.ask(body, headers={"content-encoding": encoding})
    assert (reply.status, reply.code) == (415, "unsupported_media_type")
    assert "Content-Encoding" in reply.message
    assert "plain" in reply.message


async def test_a_body_that_is_said_to_be_plain_is_read(apps: InMemory) -> None:
    body = {"message": "Hello", "wait_seconds": 0}
    assert (await apps.ask(body, headers={"content-encoding": "identity"})).status == 202
