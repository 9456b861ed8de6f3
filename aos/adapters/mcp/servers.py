"""Starts, restarts and stops the MCP servers of this process. Entry point: `McpServers.hold`.

A server is started when it is first needed. It is restarted when it dies (after a growing delay),
when its card changes, or when one of its secrets is rotated. It is stopped when it was idle. Calls
end on the server that they began on. The state belongs to this instance only and may be lost at any
time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aos.adapters.mcp.connection import Connection
from aos.adapters.mcp.launching import Launcher
from aos.domain.cards.server_card import McpServerCard
from aos.domain.tools.questions import CallResume
from aos.domain.tools.tool import ToolOutcome, ToolSchema
from aos.errors import AosError, ServerFailed, TransientError
from aos.ports.servers import ServerChange, ServerWatcher

START_SECONDS = 120.0
IDLE_SECONDS = 600
CONCURRENT_CALLS = 16
PLACE_SECONDS = 45.0
"""How long a call waits for a free place on its server."""
SECRETS_AGE_SECONDS = 30.0
LONGEST_DELAY_SECONDS = 60.0
DRAIN_SECONDS = 270.0
"""How long calls may still run on a server that is being replaced."""


@dataclass(slots=True)
class _Slot:
    """What is known about one server."""

    places: asyncio.Semaphore
    digest: str = ""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    connection: Connection | None = None
    launch: object = None
    looked_at_secrets: float = 0.0
    idle: asyncio.TimerHandle | None = None
    failures: int = 0
    not_before: float = 0.0
    failure: ServerFailed | TransientError | None = None
    newest: bool = True
    """Whether the card's server speaks the newest revision, or has not started yet."""


class McpServers:
    """The servers of this instance. Implements `ToolServers`."""

    def __init__(
        self,
        launcher: Launcher,
        *,
        start_seconds: float = START_SECONDS,
        secrets_age_seconds: float = SECRETS_AGE_SECONDS,
        place_seconds: float = PLACE_SECONDS,
    ) -> None:
        self._launcher = launcher
        self._start_seconds = start_seconds
        self._secrets_age = secrets_age_seconds
        self._place_seconds = place_seconds
        self._slots: dict[str, _Slot] = {}
        self._ending: dict[asyncio.Task[None], Connection] = {}
        self._watchers: list[ServerWatcher] = []

    def watch(self, watcher: ServerWatcher) -> None:
        """Report servers whose tools changed, that started, failed to start, died, or became
        idle."""
        self._watchers.append(watcher)

    @contextlib.asynccontextmanager
    async def hold(self, card: McpServerCard, digest: str) -> AsyncIterator[_Line]:
        """Return the running server and reserve a place for one call."""
        slot = self._get_slot(card, digest)
        try:
            async with asyncio.timeout(self._place_seconds):
                await slot.places.acquire()
        except TimeoutError as error:
            raise TransientError(
                f"the MCP server {card.server_id!r} already has as many calls as it may have"
            ) from error
        try:
            connection = await self._get_connection(card, digest)
            try:
                with connection.use():
                    yield _Line(connection)
            finally:
                self._plan_stop(card, connection)
        finally:
            slot.places.release()

    async def list_tools(self, card: McpServerCard, digest: str) -> list[ToolSchema]:
        """List the tools that the server has now."""
        connection = await self._get_connection(card, digest)
        try:
            with connection.use():
                return await connection.list_tools()
        finally:
            self._plan_stop(card, connection)

    async def keep_only(self, serving: Mapping[str, str]) -> None:
        """Stop the servers that are not in `serving`, after their calls have ended."""
        for server_id, slot in list(self._slots.items()):
            if serving.get(server_id) == slot.digest:
                continue
            async with slot.lock:
                if serving.get(server_id) != slot.digest:
                    self._retire(slot)
                    if server_id not in serving:
                        self._slots.pop(server_id, None)

    async def close(self) -> None:
        """Stop every server now."""
        slots, self._slots = list(self._slots.values()), {}
        for slot in slots:
            if slot.idle is not None:
                slot.idle.cancel()
        left = [slot.connection for slot in slots if slot.connection is not None]
        left += self._ending.values()
        await asyncio.gather(*(connection.close() for connection in left))
        for task in self._ending:
            task.cancel()
        if self._ending:
            await asyncio.wait(self._ending)

    def _get_slot(self, card: McpServerCard, digest: str) -> _Slot:
        slot = self._slots.get(card.server_id)
        if slot is None:
            slot = self._slots[card.server_id] = _Slot(places=_make_places(card), digest=digest)
        elif slot.digest != digest:
            # calls that hold one of the old places return it to the old semaphore
            slot.places = _make_places(card)
        return slot

    async def _get_connection(self, card: McpServerCard, digest: str) -> Connection:
        """Return the connection of the card's server; open it again if necessary."""
        async with self._lock_slot(card, digest) as slot:
            if slot.digest != digest:
                self._retire(slot)
                slot.digest, slot.failures, slot.not_before, slot.newest = digest, 0, 0.0, True
            connection = slot.connection
            if connection is not None and not connection.alive:
                self._handle_end(card.server_id, connection)
            elif connection is not None and await self._is_current(slot, card):
                return connection
            return await self._start(slot, card)

    @contextlib.asynccontextmanager
    async def _lock_slot(self, card: McpServerCard, digest: str) -> AsyncIterator[_Slot]:
        """Lock the server's slot. A slot that was dropped meanwhile is not used."""
        while True:
            slot = self._get_slot(card, digest)
            async with slot.lock:
                if self._slots.get(card.server_id) is slot:
                    yield slot
                    return

    async def _is_current(self, slot: _Slot, card: McpServerCard) -> bool:
        """Whether the server's secrets are unchanged. They are checked only after some time."""
        now = time.monotonic()
        if not card.uses_secrets or now - slot.looked_at_secrets < self._secrets_age:
            return True
        slot.looked_at_secrets = now
        try:
            launch = await self._launcher.launch(card)
        except AosError:
            return True  # the server runs with the last known secrets
        if launch == slot.launch:
            return True
        self._retire(slot)
        return False

    async def _start(self, slot: _Slot, card: McpServerCard) -> Connection:
        if time.monotonic() < slot.not_before and slot.failure is not None:
            raise _copy_failure(slot.failure)
        try:
            launch = await self._launcher.launch(card)
            slot.looked_at_secrets = time.monotonic()
            connection = self._launcher.make_connection(
                card, launch, on_tools_changed=lambda: self._tell(card.server_id, "tools")
            )
            await connection.open(timeout_seconds=self._start_seconds, newest=slot.newest)
        except AosError as error:
            slot.failures += 1
            delay = min(LONGEST_DELAY_SECONDS, 0.5 * 2.0**slot.failures)
            if not isinstance(error, ServerFailed | TransientError):
                error = ServerFailed(f"the MCP server {card.server_id!r} is not started: {error}")
            slot.not_before, slot.failure = time.monotonic() + delay, error
            self._tell(card.server_id, "failed", str(error))
            raise error from None
        slot.connection, slot.launch, slot.failures, slot.failure = connection, launch, 0, None
        slot.newest = connection.is_newest
        connection.watch_end(lambda: self._handle_end(card.server_id, connection))
        self._plan_stop(card, connection)
        self._tell(card.server_id, "started")
        return connection

    def _plan_stop(self, card: McpServerCard, connection: Connection) -> None:
        """After a use, plan to stop the server if it stays unused."""
        slot = self._slots.get(card.server_id)
        if slot is None or slot.connection is not connection or connection.in_use:
            return
        if slot.idle is not None:
            slot.idle.cancel()
        seconds = card.idle_seconds or IDLE_SECONDS
        loop = asyncio.get_running_loop()
        slot.idle = loop.call_later(seconds, self._stop_idle, card.server_id, connection)

    def _stop_idle(self, server_id: str, connection: Connection) -> None:
        slot = self._slots.get(server_id)
        if slot is not None and slot.connection is connection and not connection.in_use:
            self._retire(slot)
            self._tell(server_id, "stopped")

    def _handle_end(self, server_id: str, connection: Connection) -> None:
        """Handle a connection that ended by itself or does not answer any more."""
        slot = self._slots.get(server_id)
        if slot is not None and slot.connection is connection:
            self._retire(slot)
            said = f"it ended; last output: {connection.tail}" if connection.tail else "it ended"
            self._tell(server_id, "died", said)

    def _retire(self, slot: _Slot) -> None:
        """Drop the connection. It is closed when its last call has ended."""
        connection, slot.connection, slot.launch = slot.connection, None, None
        if slot.idle is not None:
            slot.idle.cancel()
            slot.idle = None
        if connection is not None:
            task = asyncio.create_task(_drain(connection))
            self._ending[task] = connection
            task.add_done_callback(lambda done: self._ending.pop(done, None))

    def _tell(self, server_id: str, change: ServerChange, said: str = "") -> None:
        for watcher in self._watchers:
            watcher(server_id, change, said)


class _Line:
    """A running server that can be called. Implements `ToolConnection`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        timeout_seconds: float,
        resume: CallResume | None = None,
    ) -> ToolOutcome:
        """Call a tool, or go on with a call."""
        return await self._connection.call(
            tool, arguments, timeout_seconds=timeout_seconds, resume=resume
        )

    async def follow_task(
        self, task_id: str, *, timeout_seconds: float, resume: CallResume | None = None
    ) -> ToolOutcome:
        """Ask for a task."""
        return await self._connection.follow_task(
            task_id, timeout_seconds=timeout_seconds, resume=resume
        )

    async def cancel_task(self, task_id: str, *, timeout_seconds: float) -> None:
        """Ask the server to cancel a task."""
        await self._connection.cancel_task(task_id, timeout_seconds=timeout_seconds)


async def _drain(connection: Connection) -> None:
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await connection.wait_until_unused()
    finally:
        await connection.close()


def _copy_failure(failure: ServerFailed | TransientError) -> ServerFailed | TransientError:
    """Return the same failure for another caller, without the first traceback."""
    if isinstance(failure, ServerFailed):
        return ServerFailed(str(failure), brief=failure.brief)
    return TransientError(str(failure))


def _make_places(card: McpServerCard) -> asyncio.Semaphore:
    return asyncio.Semaphore(card.max_concurrent_calls or CONCURRENT_CALLS)
