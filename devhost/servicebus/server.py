"""Runs a Service Bus in this event loop. Entry point: `Server.start`."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

from devhost.servicebus.agenda import Agenda
from devhost.servicebus.atom import Atom
from devhost.servicebus.broker import Broker
from devhost.servicebus.config import NamespaceConfig
from devhost.servicebus.connection import ClientConnection
from devhost.servicebus.entities.namespace import Namespace
from devhost.servicebus.group_commit import GroupCommit
from devhost.servicebus.http_port import MAX_HEAD_BYTES, HttpPort
from devhost.servicebus.policies import Policies
from devhost.servicebus.store import NoStore, Store

STOP_TIMEOUT_SECONDS = 1.0
_BACKLOG = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where to listen; port 0 is any free port. `http` None: no HTTP."""

    host: str = "127.0.0.1"
    amqp: int = 5672
    http: int | None = 5300


class Server:
    """A Service Bus in this event loop. `data` None keeps messages in memory only."""

    def __init__(self, config: NamespaceConfig, ports: Ports, *, data: Path | None = None) -> None:
        self._config = config
        self._ports = ports
        self._data = data
        self._connections: set[ClientConnection] = set()
        self._servers: list[asyncio.Server] = []
        self._store: Store | None = None
        self._agenda = Agenda()
        self._timer: asyncio.TimerHandle | None = None
        self._commit: GroupCommit | None = None
        self.message_count = 0
        """How many messages were stored when it started."""
        self.mended = ""
        """What was wrong with the stored files, and was mended."""

    async def start(self) -> tuple[int, int | None]:
        """Load the stored messages, then listen. Returns the ports.

        Raises StoreError, OSError (a port is in use).
        """
        loop = asyncio.get_running_loop()
        self._store = Store(self._data) if self._data is not None else None
        commit = self._commit = GroupCommit(self._store or NoStore(), call_soon=loop.call_soon)
        namespace = Namespace(self._config, journal=commit, agenda=self._agenda)
        if self._store is not None:
            self.message_count = self._store.load(namespace)
            self.mended = self._store.mended
        broker = Broker(
            namespace=namespace,
            policies=Policies(self._config.policies),
            commit=commit,
            agenda=self._agenda,
        )
        self._agenda.on_earlier = self._plan
        self._plan_next()
        host = self._ports.host
        amqp = await loop.create_server(
            lambda: ClientConnection(broker, connected=self._connections),
            host,
            self._ports.amqp,
            backlog=_BACKLOG,
        )
        self._servers.append(amqp)
        if self._ports.http is not None:
            http = await asyncio.start_server(
                HttpPort(Atom(broker)).answer, host, self._ports.http, limit=MAX_HEAD_BYTES
            )
            self._servers.append(http)
        numbers = [server.sockets[0].getsockname()[1] for server in self._servers]
        return numbers[0], numbers[1] if len(numbers) > 1 else None

    async def stop(self) -> None:
        """Close every connection, write back the database, close the ports."""
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.close_for_shutdown()
        if self._commit is not None:
            self._commit.flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_SECONDS):
                for connection in list(self._connections):
                    await connection.lost.wait()
        if self._timer is not None:
            self._timer.cancel()
        if self._store is not None:
            self._store.close()

    def _plan(self, due_ms: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay = max(due_ms - self._agenda.now_ms(), 0) / 1_000
        self._timer = asyncio.get_running_loop().call_later(delay, self._run_due)

    def _plan_next(self) -> None:
        due_ms = self._agenda.next_due_ms
        if due_ms is not None:
            self._plan(due_ms)

    def _run_due(self) -> None:
        try:
            self._agenda.run_due()
        finally:
            self._plan_next()
