"""How do all Service Bus functions of an app that share a namespace stay connected to it?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from typing import Protocol

from devhost.amqp.errors import AmqpError
from devhost.functions.bus.address import BusAddress
from devhost.functions.bus.claims import Claims
from devhost.functions.bus.connection import AmqpConnection
from devhost.functions.bus.errors import BusError
from devhost.functions.bus.line import EntityChannel, Line
from devhost.functions.bus.plain import PlainPump
from devhost.functions.bus.sessions import SessionPump
from devhost.functions.bus.work import Work
from devhost.functions.indexing import LoadedFunction
from devhost.functions.invocation import Invoker
from devhost.functions.log import brief, say, watched
from devhost.functions.settings import BusOptions

FIRST_DELAY_SECONDS = 0.05
LONGEST_DELAY_SECONDS = 5.0
LONGEST_LOCAL_DELAY_SECONDS = 0.4
"""On this machine a refused connection costs nothing, and people wait for what they restart."""
SETTLE_SECONDS = 1.0


class Pump(Protocol):
    """What the two kinds of pump have in common."""

    def start(self) -> None:
        """Begin."""

    def stop_intake(self) -> None:
        """Take no more messages."""

    async def close(self) -> None:
        """Abandon what is still running."""


class BusIntake:
    """The functions of one namespace, and the connection that they share."""

    def __init__(
        self,
        address: BusAddress,
        functions: Iterable[LoadedFunction],
        invoker: Invoker,
        options: BusOptions,
    ) -> None:
        self._address = address
        self._lines: list[Line] = []
        self._pumps: list[Pump] = []
        for function in functions:
            line = Line(entity_of(function.trigger))
            work = Work(function, invoker, entity=line.entity, auto_complete=options.auto_complete)
            self._lines.append(line)
            self._pumps.append(_pump(function, work, line, options))
        self._connection: AmqpConnection | None = None
        self._channels: list[EntityChannel] = []
        self._task: asyncio.Task[None] | None = None
        self._away = False

    async def start(self) -> None:
        """Begin to connect; a broker that is away is tried until it comes."""
        for pump in self._pumps:
            pump.start()
        self._task = watched(asyncio.create_task(self._stay_connected(), name="bus connection"))

    async def stop_intake(self) -> None:
        """Take no more messages; settlements still go out."""
        for pump in self._pumps:
            pump.stop_intake()

    async def close(self) -> None:
        """Abandon what runs, wait for settlements, give back the locks, and disconnect."""
        for pump in self._pumps:
            await pump.close()
        if self._task is not None:
            self._task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                for channel in self._channels:
                    await channel.session.wait_settled()
        if self._connection is not None:
            await self._connection.close()

    async def _stay_connected(self) -> None:
        longest = LONGEST_LOCAL_DELAY_SECONDS if self._address.is_local else LONGEST_DELAY_SECONDS
        delay = FIRST_DELAY_SECONDS
        while True:
            try:
                self._connection = connection = await AmqpConnection.open(self._address)
            except (OSError, TimeoutError, BusError, AmqpError) as error:
                self._say_away(error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, longest)
                continue
            delay = FIRST_DELAY_SECONDS
            self._say_back()
            await self._serve(connection)
            self._say_away(connection.error)
            await asyncio.sleep(delay)

    async def _serve(self, connection: AmqpConnection) -> None:
        claims = Claims(connection.begin(), self._address)
        keeping = asyncio.create_task(claims.keep())
        try:
            self._channels = []
            for line in self._lines:
                channel = EntityChannel(connection.begin(), claims, line.entity)
                self._channels.append(channel)
                line.connect(channel)
            await connection.lost.wait()
        finally:
            keeping.cancel()

    def _say_away(self, error: Exception | None) -> None:
        if not self._away:
            self._away = True
            where = f"{self._address.host}:{self._address.port}"
            say("warning", "bus.away", address=where, error=brief(error))

    def _say_back(self) -> None:
        if self._away:
            self._away = False
            say("info", "bus.back", address=f"{self._address.host}:{self._address.port}")


def entity_of(trigger: Mapping[str, object]) -> str:
    """The path of the queue or subscription that the trigger names."""
    queue = str(trigger.get("queueName") or "")
    if queue:
        return queue
    return f"{trigger.get('topicName')}/Subscriptions/{trigger.get('subscriptionName')}"


def _pump(function: LoadedFunction, work: Work, line: Line, options: BusOptions) -> Pump:
    if function.trigger.get("isSessionsEnabled"):
        return SessionPump(
            work,
            line,
            sessions=options.max_concurrent_sessions,
            accepts=options.concurrent_accepts,
            idle_seconds=options.session_idle_seconds,
            lock_renewal_seconds=options.lock_renewal_seconds,
        )
    return PlainPump(
        work,
        line,
        calls=options.concurrent_calls,
        lock_renewal_seconds=options.lock_renewal_seconds,
    )
