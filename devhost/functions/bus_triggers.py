"""Starts the Service Bus functions of an app. Entry point: `BusTriggers.start`.

Wrong settings are errors at load. The pump and the protocol under it (40 ms to import) are loaded
after the first answers over HTTP.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Iterable
from typing import Any

from devhost.functions.bus.address import BusAddress
from devhost.functions.connections import Connection, resolve_bus
from devhost.functions.errors import LoadError
from devhost.functions.indexing import LoadedFunction
from devhost.functions.invocation import Invoker
from devhost.functions.log import watch_task
from devhost.functions.settings import BusOptions


class BusTriggers:
    """The Service Bus functions of an app, grouped by namespace."""

    def __init__(
        self, functions: Iterable[LoadedFunction], invoker: Invoker, options: BusOptions
    ) -> None:
        groups: dict[Connection, list[LoadedFunction]] = {}
        for function in functions:
            _check_entity(function)
            name = str(function.trigger.get("connection") or "")
            connection = resolve_bus(name, os.environ, function=function.name)
            groups.setdefault(connection, []).append(function)
        self._groups = [(BusAddress.of(connection), group) for connection, group in groups.items()]
        self._invoker = invoker
        self._options = options
        self._beginning: asyncio.Task[None] | None = None
        self._intakes: list[Any] = []

    async def start(self) -> None:
        """Begin to connect, without waiting for the connection."""
        self._beginning = watch_task(asyncio.create_task(self._begin(), name="bus triggers"))

    async def stop_intake(self) -> None:
        """Receive no more messages; settlements are still sent."""
        if self._beginning is not None:
            self._beginning.cancel()
            await asyncio.wait({self._beginning})
        for intake in self._intakes:
            await intake.stop_intake()

    async def close(self) -> None:
        """Abandon calls, release the locks, and disconnect."""
        for intake in self._intakes:
            await intake.close()

    async def _begin(self) -> None:
        module = await asyncio.to_thread(importlib.import_module, "devhost.functions.bus.intake")
        for address, group in self._groups:
            intake = module.BusIntake(address, group, self._invoker, self._options)
            self._intakes.append(intake)
            await intake.start()


def _check_entity(function: LoadedFunction) -> None:
    if not function.trigger.get("queueName") and not function.trigger.get("subscriptionName"):
        raise LoadError(
            function.name,
            "its trigger names neither a queue nor a topic and its subscription",
            remedy="give queue_name, or topic_name and subscription_name",
        )
