"""main and realm as their function apps have them, on a world in memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import azure.functions as func

from aos.adapters.memory import (
    Interceptor,
    Kept,
    ManualClock,
    MemoryBroker,
    MemoryTables,
    MemoryTelemetry,
    SeededIds,
    pass_through,
)
from aos.adapters.memory.blobs import MemoryBlobStore
from aos.domain.envelope import MAIN_QUEUE, REALM_QUEUE, REQUESTS_QUEUE, RESPONSES_QUEUE
from aos.ports.telemetry import Telemetry
from aos.settings import Settings
from aos.testing import ScriptedModel
from aos.testing.adapters import make_world
from aos.testing.settled_main import SettledMain
from aos.testing.triggers import be_ready, make_trigger_message
from aos.wiring.main import Main
from aos.wiring.realm import Realm
from aos.wiring.world import World

DEVELOPMENT = {"AZURE_FUNCTIONS_ENVIRONMENT": "Development", "AOS_MODEL_ENDPOINT": "http://m/v1"}


class QuickClock(ManualClock):
    """A clock on which every sleep is over at once, and has lasted as long as it should."""

    async def sleep(self, seconds: float) -> None:
        """Move time on, and give others their turn."""
        await asyncio.sleep(0)
        self.advance(max(seconds, 0.0))


@dataclass(frozen=True, slots=True)
class Reply:
    """What a route answered."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def code(self) -> str:
        """The error's code."""
        return str(self.body["error"]["code"])

    @property
    def message(self) -> str:
        """The error's message."""
        return str(self.body["error"]["message"])


class InMemory:
    """Two apps, one world, and a pump that hands over messages as the host does."""

    def __init__(
        self, settings: Mapping[str, str] | None = None, *, telemetry: Telemetry | None = None
    ) -> None:
        self.settings = Settings.read({**DEVELOPMENT, **(settings or {})})
        self.clock = QuickClock()
        self.broker = MemoryBroker(clock=self.clock)
        self.tables = MemoryTables()
        self.telemetry = MemoryTelemetry()
        self._told: Telemetry = telemetry or self.telemetry
        self.model = ScriptedModel()
        self.config = MemoryBlobStore(clock=self.clock)
        self.data = MemoryBlobStore(clock=self.clock)
        self.logs = MemoryBlobStore(clock=self.clock)
        self._ids = SeededIds(random.Random(7))
        self.world = self.new_world()
        self.bus = self.world.bus
        self.main = self.new_main()
        self.realm = self.new_realm()

    def new_world(self, intercept: Interceptor = pass_through) -> World:
        """The adapters of another instance, on the same tables and bus."""
        return make_world(
            tables=self.tables,
            broker=self.broker,
            config=self.config,
            data=self.data,
            logs=self.logs,
            model=self.model,
            clock=self.clock,
            ids=self._ids,
            intercept=intercept,
        )

    def new_realm(self, *, world: World | None = None) -> Realm:
        """Another instance of realm."""
        return Realm(
            self.settings,
            open_world=lambda: world or self.world,
            telemetry=self._told,
            ids=self.world.ids,
            ready=be_ready,
        )

    def new_main(
        self, *, world: World | None = None, ready: Callable[[], Awaitable[None]] | None = None
    ) -> Main:
        """Another instance of main."""
        return SettledMain(
            self.settings,
            open_world=lambda: world or self.world,
            telemetry=self._told,
            ids=self.world.ids,
            ready=ready or be_ready,
        )

    async def put(self, card: dict[str, Any]) -> None:
        """Upload an agent card and publish it."""
        await self.config.write(f"agents/{card['agent_id']}.json", json.dumps(card).encode())
        await self.main.catalog_timer.tick(None)  # type: ignore[arg-type]  # it is not looked at

    async def ask(self, body: object, **more: Any) -> Reply:
        """POST to the run route of the agent `ceo`."""
        given = {"agent_id": "ceo"} | more.pop("parts", {})
        return await call(self.main.runs.start, "POST", body=body, parts=given, **more)

    def send(self, body: object, **properties: Any) -> None:
        """Put a message on `aos-requests`; `body` as bytes, or an object to be sent as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.broker.send(REQUESTS_QUEUE, raw, **{"message_id": "m-1", **properties})

    async def settle(self) -> None:
        """Hand over messages until there are none."""
        for _ in range(2000):
            if not await self._one():
                await self.main.services.books.flush()
                return
        raise AssertionError("the world does not come to rest")

    def replies(self) -> list[Kept]:
        """What is on the queue of replies."""
        return self.broker.messages(RESPONSES_QUEUE)

    @contextlib.asynccontextmanager
    async def pumping(self) -> AsyncIterator[None]:
        """Hand over messages for as long as the block lasts."""

        over = asyncio.Event()

        async def pump() -> None:
            while not over.is_set():
                await self._one()
                await asyncio.sleep(0)
            await self.settle()

        task = asyncio.create_task(pump())
        try:
            yield
        finally:
            over.set()
            await task

    async def _one(self) -> bool:
        for entity, handle in (
            (REQUESTS_QUEUE, self.main.requests.handle),
            (MAIN_QUEUE, self.main.commands.handle),
        ):
            kept = self.broker.receive(entity)
            if kept is not None:
                await self.deliver(kept, handle)
                return True
        session = self.broker.accept_session(REALM_QUEUE)
        if session is None:
            return False
        kept = self.broker.receive_in(session)
        if kept is not None:
            await self.deliver(kept, self.realm.commands.handle)
        self.broker.release(session)
        return True

    async def deliver(self, kept: Kept, handle: Any) -> None:
        """Hand one message over as the host does, and settle it."""
        lock = kept.lock
        assert lock is not None
        try:
            await handle(make_trigger_message(kept.build_received()))
        except Exception:  # noqa: BLE001 - as the host does
            self.broker.abandon(kept, lock)
        else:
            self.broker.complete(kept, lock)


def _headers(method: str, raw: bytes) -> dict[str, str]:
    given = {"content-type": "application/json"}
    return given if method == "GET" else {**given, "content-length": str(len(raw))}


def request(
    method: str,
    *,
    body: object = b"",
    headers: Mapping[str, str] | None = None,
    query: str = "",
    parts: Mapping[str, str] | None = None,
) -> func.HttpRequest:
    """A request as the host hands it over; an object is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return func.HttpRequest(
        method=method,
        url=f"http://127.0.0.1:7071/api/x{'?' + query if query else ''}",
        headers=_headers(method, raw) | dict(headers or {}),
        params={n: v for n, v in parse_qsl(urlsplit(f"?{query}").query)},
        route_params=dict(parts or {}),
        body=raw,
    )


async def call(route: Any, method: str = "GET", **given: Any) -> Reply:
    """Call a route and read its answer."""
    async with asyncio.timeout(10):
        response: func.HttpResponse = await route(request(method, **given))
    assert response.mimetype == "application/json"
    headers = {name.lower(): value for name, value in response.headers.items()}
    raw = response.get_body()
    return Reply(response.status_code, headers, json.loads(raw) if raw else None)
