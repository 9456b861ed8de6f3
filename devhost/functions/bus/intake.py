"""Keeps an app's functions of one namespace connected to it. Entry point: `BusIntake.start`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from typing import Protocol

from devhost.amqp.errors import AmqpError
from devhost.functions.bus.address import BusAddress
from devhost.functions.bus.claims import Claims
from devhost.functions.bus.connection import BrokerConnection
from devhost.functions.bus.entity import BusEntity, EntityChannel
from devhost.functions.bus.errors import BusError
from devhost.functions.bus.handler import MessageHandler
from devhost.functions.bus.plain import PlainPump
from devhost.functions.bus.sessions import SessionPump
from devhost.functions.indexing import LoadedFunction
from devhost.functions.invocation import Invoker
from devhost.functions.log import describe_briefly, say, watch_task
from devhost.functions.settings import BusOptions

FIRST_DELAY_SECONDS = 0.05
LONGEST_DELAY_SECONDS = 5.0
LONGEST_LOCAL_DELAY_SECONDS = 0.4
"""On this machine an attempt costs nothing, and people wait for the broker that they restart."""
SETTLE_SECONDS = 1.0


class Pump(Protocol):
    """What both kinds of pump do."""

    def start(self) -> None:
        """Start to take messages."""

    def stop_intake(self) -> None:
        """Take no more messages."""

    async def close(self) -> None:
        """Abandon the calls that still run."""


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
        self._entities: list[BusEntity] = []
        self._pumps: list[Pump] = []
        for function in functions:
            entity = BusEntity(read_entity_path(function.trigger))
            handler = MessageHandler(
                function, invoker, entity=entity.path, auto_complete=options.auto_complete
            )
            self._entities.append(entity)
            self._pumps.append(_make_pump(function, handler, entity, options))
        self._connection: BrokerConnection | None = None
        self._channels: list[EntityChannel] = []
        self._task: asyncio.Task[None] | None = None
        self._away = False

    async def start(self) -> None:
        """Begin to connect; a broker that is away is tried until it answers."""
        for pump in self._pumps:
            pump.start()
        self._task = watch_task(asyncio.create_task(self._stay_connected(), name="bus connection"))

    async def stop_intake(self) -> None:
        """Take no more messages; settlements still go out."""
        for pump in self._pumps:
            pump.stop_intake()

    async def close(self) -> None:
        """Abandon calls, wait for settlements, release the locks, and disconnect."""
        for pump in self._pumps:
            await pump.close()
        if self._task is not None:
            self._task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                for channel in self._channels:
                    await channel.session.wait_settled()
        if self._connection is not None:
            await self._connection.close_politely()

    async def _stay_connected(self) -> None:
        longest = LONGEST_LOCAL_DELAY_SECONDS if self._address.is_local else LONGEST_DELAY_SECONDS
        delay = FIRST_DELAY_SECONDS
        while True:
            try:
                self._connection = connection = await BrokerConnection.open(self._address)
            except (OSError, TimeoutError, BusError, AmqpError) as error:
                self._log_away(error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, longest)
                continue
            delay = FIRST_DELAY_SECONDS
            self._log_back()
            await self._serve(connection)
            self._log_away(connection.reason)
            await asyncio.sleep(delay)

    async def _serve(self, connection: BrokerConnection) -> None:
        claims = Claims(connection.begin(), self._address)
        renewal = asyncio.create_task(claims.renew_forever())
        try:
            self._channels = []
            for entity in self._entities:
                channel = EntityChannel(connection.begin(), claims, entity.path)
                self._channels.append(channel)
                entity.connect(channel)
            await connection.lost.wait()
        finally:
            renewal.cancel()

    def _log_away(self, error: Exception | None) -> None:
        if not self._away:
            self._away = True
            where = f"{self._address.host}:{self._address.port}"
            say("warning", "bus.away", address=where, error=describe_briefly(error))

    def _log_back(self) -> None:
        if self._away:
            self._away = False
            say("info", "bus.back", address=f"{self._address.host}:{self._address.port}")


def read_entity_path(trigger: Mapping[str, object]) -> str:
    """The path of the queue or subscription that the trigger names."""
    queue = str(trigger.get("queueName") or "")
    if queue:
        return queue
    return f"{trigger.get('topicName')}/Subscriptions/{trigger.get('subscriptionName')}"


def _make_pump(
    function: LoadedFunction, handler: MessageHandler, entity: BusEntity, options: BusOptions
) -> Pump:
    if function.trigger.get("isSessionsEnabled"):
        return SessionPump(
            handler,
            entity,
            sessions=options.max_concurrent_sessions,
            accepts=options.concurrent_accepts,
            idle_seconds=options.session_idle_seconds,
            lock_renewal_seconds=options.lock_renewal_seconds,
        )
    return PlainPump(
        handler,
        entity,
        calls=options.concurrent_calls,
        lock_renewal_seconds=options.lock_renewal_seconds,
    )
