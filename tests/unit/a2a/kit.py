"""How tests speak A2A with a world in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import azure.functions as func

from aos.entrypoints.http.streams import StreamedResponse
from aos.testing import Answer, MemoryWorld, ScriptedModel
from tests.unit.tools.worlds import CEO, CLOCK, noon, nothing

T = TypeVar("T")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VERSION = {"A2A-Version": "1.0"}
STEP_SECONDS = 0.3
MOST_STEPS = 2000


async def a_world(
    *answers: Answer, card: dict[str, Any] | None = None, **settings: str
) -> MemoryWorld:
    """An agent `ceo` with the tools of the server `clock`; push notifications are signed."""
    world = MemoryWorld(
        model=ScriptedModel(*answers), settings={"AOS_WEBHOOK_SECRET": SECRET, **settings}
    )
    await world.put_mcp_server(CLOCK, {"now": noon, "set": nothing})
    status = await world.put_agent({**CEO, **(card or {})})
    assert status["errors"] == []
    return world


async def let(world: MemoryWorld, work: Awaitable[T]) -> T:
    """Await what needs the world to go on: deliver messages and move the clock until it is done."""
    task = asyncio.ensure_future(work)
    for _ in range(MOST_STEPS):
        for _ in range(20):
            await asyncio.sleep(0)
        if task.done():
            return await task
        await world.settle()
        if world.clock.next_wake is not None:
            world.clock.advance(min(world.clock.next_wake, STEP_SECONDS))
    task.cancel()
    raise AssertionError("the door does not answer")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a route answered."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def error(self) -> dict[str, Any]:
        """The error of either binding."""
        found: dict[str, Any] = self.body["error"]
        return found

    @property
    def reason(self) -> str:
        """The reason of the error, as `google.rpc.ErrorInfo` says it."""
        details = self.error.get("data") or self.error.get("details")
        return str(details[0]["reason"])


def a_message(*parts: object, message_id: str = "m-1", **fields: Any) -> dict[str, Any]:
    """A message of a client; a text stands for its part."""
    written = [{"text": part} if isinstance(part, str) else part for part in parts]
    return {"messageId": message_id, "role": "ROLE_USER", "parts": written, **fields}


def make_request(
    verb: str,
    body: object,
    headers: Mapping[str, str],
    parts: Mapping[str, str],
    query: str = "",
) -> func.HttpRequest:
    """A request as the host hands it over; an object is sent as JSON."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    given = {"content-type": "application/json", "content-length": str(len(raw))}
    return func.HttpRequest(
        verb,
        "http://localhost/api/a2a/x",
        headers={**given, **headers},
        params=dict(parse_qsl(query)),
        route_params=dict(parts),
        body=raw,
    )


def _read(response: func.HttpResponse) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    headers["content-type"] = response.mimetype
    raw = response.get_body()
    return Reply(response.status_code, headers, json.loads(raw) if raw else None)


async def rpc(
    world: MemoryWorld,
    method: str,
    params: object = None,
    *,
    agent: str = "ceo",
    raw: object = None,
    headers: Mapping[str, str] = VERSION,
) -> Reply:
    """A request of the JSON-RPC binding and its answer; `raw` is sent in its place."""
    body = raw or {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    request = make_request("POST", body, headers, {"agent_id": agent})
    return _read(await let(world, world.main.a2a.rpc(request)))


async def rest(
    world: MemoryWorld,
    verb: str,
    path: str,
    body: object = None,
    *,
    agent: str = "ceo",
    headers: Mapping[str, str] = VERSION,
) -> Reply:
    """A request of the HTTP+JSON binding and its answer."""
    path, _, query = path.partition("?")
    request = make_request(verb, body, headers, {"agent_id": agent, "path": path}, query)
    return _read(await let(world, world.main.a2a.rest(request)))


async def stream(world: MemoryWorld, method: str, params: object) -> list[dict[str, Any]]:
    """All updates that a streaming method of the JSON-RPC binding tells."""
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    request = make_request("POST", body, VERSION, {"agent_id": "ceo"})
    answer = await let(world, world.main.a2a.rpc(request))
    assert isinstance(answer, StreamedResponse), answer.get_body()
    return await let(world, collect(answer))


async def collect(answer: StreamedResponse) -> list[dict[str, Any]]:
    """The results in a stream's events."""
    found = []
    async with aclosing(answer.pieces) as pieces:
        async for piece in pieces:
            for line in piece.decode().splitlines():
                if line.startswith("data: "):
                    read = json.loads(line.removeprefix("data: "))
                    assert (read["jsonrpc"], read["id"]) == ("2.0", 7)
                    found.append(read["result"])
    return found


async def send(world: MemoryWorld, *parts: object, **fields: Any) -> dict[str, Any]:
    """Send a message and return the task; `configuration` is that of the request."""
    configuration = fields.pop("configuration", None)
    params = {"message": a_message(*parts, **fields), "configuration": configuration}
    reply = await rpc(world, "SendMessage", params)
    assert "result" in reply.body, reply.body
    task: dict[str, Any] = reply.body["result"]["task"]
    return task


def state_of(task: Mapping[str, Any]) -> str:
    """The state of a task, or of the change of one."""
    return str(task["status"]["state"]).removeprefix("TASK_STATE_")


def text_of(task: Mapping[str, Any]) -> str:
    """The text of a task's output."""
    (artifact,) = task["artifacts"]
    return "".join(part["text"] for part in artifact["parts"])
