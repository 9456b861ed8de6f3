"""Connects the unmodified client of OpenAI to a world in memory, without a network."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

import azure.functions as func
import httpx2
from openai import AsyncOpenAI

from aos.entrypoints.http.streams import StreamedResponse
from aos.testing import MemoryWorld, ScriptedModel

BASE = "http://127.0.0.1/api"
STEP_SECONDS = 0.1
_DOOR = re.compile(r"/api/openai/(?P<path>.+)")
_AGENT_DOOR = re.compile(r"/api/agents/(?P<agent_id>[^/]+)/endpoint/protocols/openai/(?P<path>.+)")


class World(MemoryWorld):
    """A world whose model answers from a script."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self.scripted = ScriptedModel()
        super().__init__(model=self.scripted, settings=settings)


class _Pieces(httpx2.AsyncByteStream):
    """The body of a streamed answer."""

    def __init__(self, transport: Transport, response: StreamedResponse) -> None:
        self._transport = transport
        self._pieces = response.pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with self._transport.pumping():
            async for piece in self._pieces:
                yield piece

    async def aclose(self) -> None:
        await self._pieces.aclose()


class Transport(httpx2.AsyncBaseTransport):
    """Hands requests to main as the Functions host does, and lets the world run meanwhile."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.requests: list[httpx2.Request] = []
        self.broken: list[int] = []
        """Statuses that a proxy gives instead of the answers to the next requests."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        body = await request.aread()
        async with self.pumping():
            response = await self.serve(request, body)
        if self.broken:
            return httpx2.Response(self.broken.pop(0), text="a proxy")
        headers = {"content-type": response.mimetype, **dict(response.headers)}
        if isinstance(response, StreamedResponse):
            return httpx2.Response(
                response.status_code, headers=headers, stream=_Pieces(self, response)
            )
        return httpx2.Response(response.status_code, headers=headers, content=response.get_body())

    async def serve(self, request: httpx2.Request, body: bytes) -> func.HttpResponse:
        """Hand a request to the door."""
        path, door = request.url.path, self.world.main.openai
        found = _AGENT_DOOR.fullmatch(path)
        serve = door.answer if found is None else door.answer_for_agent
        found = found or _DOOR.fullmatch(path)
        assert found is not None, path
        given = func.HttpRequest(
            method=request.method,
            url=str(request.url),
            headers={name.lower(): value for name, value in request.headers.items()},
            params=dict(parse_qsl(request.url.query.decode())),
            route_params=found.groupdict(),
            body=body,
        )
        async with asyncio.timeout(20):
            return await serve(given)

    @contextlib.asynccontextmanager
    async def pumping(self) -> AsyncIterator[None]:
        """Let messages flow and time go by for as long as the block lasts."""
        over = asyncio.Event()

        async def pump() -> None:
            while not over.is_set():
                await self.world.settle()
                self.world.clock.advance(STEP_SECONDS)
                await asyncio.sleep(0)
            await self.world.settle()

        task = asyncio.create_task(pump())
        try:
            yield
        finally:
            over.set()
            await task


def connect(transport: Transport, path: str = "openai/v1", **settings: Any) -> Any:
    """The client, as its users make it."""
    given: Mapping[str, Any] = {"api_key": "a-key", "max_retries": 0, **settings}
    return AsyncOpenAI(
        base_url=f"{BASE}/{path}",
        http_client=httpx2.AsyncClient(transport=transport),
        **given,
    )
