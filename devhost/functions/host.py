"""Loads one Functions app, serves it and stops it. Entry point: `Host`.

Loading is synchronous and refuses what Azure refuses. HTTP starts first, then the other triggers.
At the stop, no new work is taken, running calls may finish within `GRACE_SECONDS`, and then locks
are released.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from devhost.functions import worker_telemetry
from devhost.functions.errors import HostError
from devhost.functions.http_server import HttpFront, HttpListener
from devhost.functions.http_streams import LocalExtension, find_extension
from devhost.functions.indexing import LoadedFunction, load_app
from devhost.functions.invocation import Invoker
from devhost.functions.keys import Keys
from devhost.functions.log import describe_briefly, say
from devhost.functions.routes import RouteTable
from devhost.functions.settings import (
    HostOptions,
    apply_local_settings,
    read_cores,
    read_host_json,
)
from devhost.functions.shadows import find_shadows

GRACE_SECONDS = 5.0
"""How long running calls may take to finish after SIGTERM."""


class Intake(Protocol):
    """A source of work other than HTTP: a timer, a queue, a Service Bus connection."""

    async def start(self) -> None:
        """Start without waiting; what is not reachable yet is retried."""

    async def stop_intake(self) -> None:
        """Take no more work. Running calls continue."""

    async def close(self) -> None:
        """Give back what is held, and end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A loaded app that can be served."""

    functions: tuple[LoadedFunction, ...]
    front: HttpFront
    invoker: Invoker
    intakes: tuple[Intake, ...]

    @classmethod
    def load(
        cls, folder: Path, *, keys: Path | None, port: int = 0, worker: Path | None = None
    ) -> Host:
        """Load the app in `folder`. Raises HostError with one line that says why not.

        `port` is the port that it will be served on; like Core Tools, the host tells the app its
        address in WEBSITE_HOSTNAME. `worker` is a Python with Microsoft's worker: the app then runs
        there instead of in this process.
        """
        folder = folder.resolve()
        if not folder.is_dir():
            raise HostError(f"{folder} is not a folder; give the folder of a Functions app")
        apply_local_settings(folder / "local.settings.json", os.environ)
        if port:
            os.environ.setdefault("WEBSITE_HOSTNAME", f"localhost:{port}")
        options = read_host_json(folder, cores=read_cores(os.environ))
        functions, invoker = _load(folder, options, worker)
        served = [function for function in functions if not function.disabled]
        table = RouteTable(_select_kind(served, "httpTrigger"), prefix=options.route_prefix)
        _say_shadows(table)
        return cls(
            functions=functions,
            front=HttpFront(table, invoker, keys=Keys.read(keys) if keys else None),
            invoker=invoker,
            intakes=_make_intakes(served, invoker, options),
        )

    async def serve(self, *, address: str, port: int) -> None:
        """Serve until SIGTERM or SIGINT. Raises HostError if the port is in use."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        tell_app = signal.getsignal(signal.SIGTERM)

        def begin_stop() -> None:
            stop.set()
            if callable(tell_app):  # as under Azure's worker, an app may have a handler of its own
                tell_app(signal.SIGTERM, None)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, begin_stop)
        # Loaded objects stay for good, so garbage collection need not scan them again.
        gc.freeze()
        gc.enable()
        await self.front.start()
        listener = HttpListener(self.front)
        await listener.start(address, port)
        say("info", "host.started", port=listener.port, functions=len(self.functions))
        try:
            for intake in self.intakes:
                await intake.start()
            await stop.wait()
        finally:
            await self._stop(listener)

    async def _stop(self, listener: HttpListener) -> None:
        await listener.stop_listening()
        for intake in self.intakes:
            await intake.stop_intake()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await self.invoker.wait_idle()
        cut = self.invoker.running
        for intake in self.intakes:
            try:
                await intake.close()
            except (OSError, TimeoutError) as error:
                say("warning", "host.close_failed", error=describe_briefly(error))
        await listener.close()
        await self.front.close()
        await self.invoker.close()
        say("info", "host.stopped", calls_cut_off=cut or None)
        sys.stdout.flush()
        if self.invoker.threads_running:
            # A thread cannot be stopped, and Python would wait for it.
            os._exit(0)


def _say_shadows(table: RouteTable) -> None:
    for shadow in find_shadows(table.routes):
        say(
            "warning",
            "http.shadowed",
            function=shadow.later.function.name,
            route=shadow.later.path,
            taken_by=shadow.earlier.function.name,
            remedy="rename one: the host takes the first route that matches, by function name",
        )


def _load(
    folder: Path, options: HostOptions, worker: Path | None
) -> tuple[tuple[LoadedFunction, ...], Invoker]:
    seconds = options.function_timeout_seconds
    if worker is not None:
        from devhost.worker.invoker import load_in_worker

        return load_in_worker(folder, options, worker)
    kind = Invoker
    if worker_telemetry.is_enabled(os.environ):
        worker_telemetry.start_telemetry(folder)
        kind = worker_telemetry.TracedInvoker
    functions = load_app(folder, options)
    found = find_extension(os.environ)
    extension = None if found is None else LocalExtension(found)
    return functions, kind(timeout_seconds=seconds, extension=extension)


def _select_kind(functions: list[LoadedFunction], kind: str) -> list[LoadedFunction]:
    return [function for function in functions if function.kind == kind]


def _make_intakes(
    functions: list[LoadedFunction], invoker: Invoker, options: HostOptions
) -> tuple[Intake, ...]:
    # Modules that the app does not need are not imported, because the time to the first answer
    # counts.
    intakes: list[Intake] = []
    if timers := _select_kind(functions, "timerTrigger"):
        from devhost.functions.timers import Timer

        intakes.extend(Timer(function, invoker) for function in timers)
    if queues := _select_kind(functions, "queueTrigger"):
        from devhost.functions.queues import QueueTrigger

        intakes.extend(QueueTrigger(function, invoker, options.queues) for function in queues)
    if bus := _select_kind(functions, "serviceBusTrigger"):
        from devhost.functions.bus_triggers import BusTriggers

        intakes.append(BusTriggers(bus, invoker, options.bus))
    return tuple(intakes)
