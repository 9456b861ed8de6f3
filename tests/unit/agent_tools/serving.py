"""main's MCP door in memory: as a function, and behind a server for clients that need a URL."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import azure.functions as func
from aiohttp import web

from aos.entrypoints.http.streams import StreamedResponse
from aos.testing import MemoryWorld

Json = dict[str, Any]
NEWEST = "2026-07-28"
ACCEPT = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Told:
    """What the door answered to a POST: the status, and the JSON-RPC message if there is one."""

    status: int
    message: Any
    progress: tuple[Json, ...] = ()

    @property
    def result(self) -> Json:
        """The result of a request."""
        assert "result" in self.message, self.message
        found: Json = self.message["result"]
        return found


def newest(method: str, params: Json | None = None, **capabilities: Any) -> tuple[Json, Json]:
    """A request of the newest revision, and its headers."""
    params = params or {}
    meta = {
        "io.modelcontextprotocol/protocolVersion": NEWEST,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": capabilities,
        **params.pop("_meta", {}),
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    headers = {"mcp-protocol-version": NEWEST, "mcp-method": method}
    name = params.get("name") or params.get("taskId")
    return body, headers | ({} if name is None else {"mcp-name": name})


async def post(world: MemoryWorld, body: Any, verb: str = "POST", **headers: str) -> Told:
    """One request to /api/mcp, while everything happens that can."""
    asked = asyncio.create_task(_serve(world, body, verb, headers))
    async with asyncio.timeout(SECONDS):
        while not asked.done():
            await world.settle()
            await asyncio.sleep(0.005)
        return await asked


async def _serve(world: MemoryWorld, body: Any, verb: str, headers: Json) -> Told:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await world.main.agent_tools.serve(make_request(verb, raw, {**ACCEPT, **headers}))
    if isinstance(answer, StreamedResponse):
        text = b"".join([piece async for piece in answer.pieces]).decode()
        lines = [line for line in text.splitlines() if line.startswith("data: ")]
        *before, last = [json.loads(line.removeprefix("data: ")) for line in lines]
        return Told(200, last, tuple(before))
    said = answer.get_body()
    return Told(answer.status_code, json.loads(said) if said else None)


def make_request(verb: str, raw: bytes, headers: Json) -> func.HttpRequest:
    """A request as the host hands it over."""
    given = {"content-length": str(len(raw)), **headers}
    return func.HttpRequest(verb, "http://localhost/api/mcp", headers=given, body=raw)


@contextlib.asynccontextmanager
async def serving(world: MemoryWorld) -> AsyncIterator[str]:
    """The URL of the door, while everything happens that can."""

    async def answer(asked: web.Request) -> web.StreamResponse:
        raw = await asked.read()
        request = make_request(asked.method, raw, dict(asked.headers))
        said = await world.main.agent_tools.serve(request)
        kind = {"Content-Type": said.mimetype or "application/json"}
        if not isinstance(said, StreamedResponse):
            headers = {**dict(said.headers), **kind}
            return web.Response(status=said.status_code, body=said.get_body(), headers=headers)
        response = web.StreamResponse(headers={**dict(said.headers), **kind})
        async with contextlib.aclosing(said.pieces) as pieces:
            await response.prepare(asked)
            async for piece in pieces:
                await response.write(piece)
        return response

    async def pump() -> None:
        while True:
            await world.settle()
            await asyncio.sleep(0.01)

    app = web.Application()
    app.router.add_route("*", "/mcp", answer)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    pumping = asyncio.create_task(pump())
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
    finally:
        pumping.cancel()
        await runner.cleanup()
