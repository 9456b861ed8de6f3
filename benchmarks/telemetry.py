"""Counts the apps' telemetry with the settings that Bicep writes, and what it costs. Entry points:
`measure_telemetry`, `compare_processor_time`.

The apps export as under Azure's worker, to an ingestion endpoint on this machine. The host's own
rows, which Azure adds, are not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import parts
from benchmarks.ingestion import Ingestion, run_ingestion
from benchmarks.processor_time import read_processor_time
from benchmarks.turns import one
from benchmarks.wire import Connection
from devhost.apps import APP_FOLDERS
from devhost.functions.worker_telemetry import ENABLED
from devhost.laptop import REPOSITORY, Laptop

SNAPSHOT = REPOSITORY / "infra" / "snapshots" / "prod.snapshot.json"
"""The settings that the templates produce; a test keeps it current."""
CONNECTION_STRING = "APPLICATIONINSIGHTS_CONNECTION_STRING"
OF_AZURE = frozenset({CONNECTION_STRING, "APPLICATIONINSIGHTS_AUTHENTICATION_STRING"})
"""The settings for where telemetry goes and with which identity; here it goes to this machine."""
PREFIXES = ("APPLICATIONINSIGHTS_", "OTEL_", "PYTHON_APPLICATIONINSIGHTS_", "AOS_LOG_LEVEL")
SAMPLER = "OTEL_TRACES_SAMPLER"
WARM_UP = 3
RUNS = 10
IDLE_SECONDS = 30.0
EXPORT_SECONDS = 32.0
"""After this time the exporters have sent everything, at least twice."""
ROUNDS = 5
ROUND_TURNS = 180
"""So many that the seconds after them, which have their own costs, are a small part of a round."""
ROUND_EXPORT_SECONDS = 16.0
"""After this time the exporters have sent everything once. Not 5 to 6 seconds: then Azurite ends
idle connections, and a write just then would be answered with 503."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What was ingested up to a moment."""

    at: float
    tables: Counter[str]
    rows: Counter[str]
    size: Counter[str]

    @classmethod
    def so_far(cls, ingestion: Ingestion) -> Sent:
        """Return the counts as of now."""
        return cls(
            at=time.monotonic(),
            tables=ingestion.by_table(),
            rows=ingestion.rows_by_app(),
            size=ingestion.bytes_by_app(),
        )

    def since(self, before: Sent) -> Sent:
        """Return what came after `before`; `at` is then the seconds between."""
        return Sent(
            at=self.at - before.at,
            tables=self.tables - before.tables,
            rows=self.rows - before.rows,
            size=self.size - before.size,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """What idle seconds sent, and then some runs."""

    idle: Sent
    busy: Sent
    runs: int

    @property
    def rows_a_run(self) -> float:
        """Return the rows that a run adds to those of idle seconds."""
        return self._compute_per_run(self.busy.rows, self.idle.rows)

    @property
    def bytes_a_run(self) -> float:
        """Return the bytes that a run adds to those of idle seconds."""
        return self._compute_per_run(self.busy.size, self.idle.size)

    @property
    def tables_a_run(self) -> dict[str, float]:
        """Return the rows of each table for a run, including those of idle seconds."""
        return {table: count / self.runs for table, count in sorted(self.busy.tables.items())}

    @property
    def idle_bytes(self) -> float:
        """Return the bytes in IDLE_SECONDS."""
        return self.idle.size.total() * IDLE_SECONDS / self.idle.at

    def _compute_per_run(self, busy: Counter[str], idle: Counter[str]) -> float:
        alone = idle.total() * self.busy.at / self.idle.at
        return (busy.total() - alone) / self.runs


def make_deployed_settings(snapshot: Path = SNAPSHOT, *, app: str = "main") -> dict[str, str]:
    """Return the telemetry settings of a deployed app, without destination and identity."""
    resources = json.loads(snapshot.read_text("utf-8"))["predictedResources"]
    (settings,) = [
        found for found in map(_read_app_settings, resources) if found.get("AOS_APP") == app
    ]
    return {
        name: value
        for name, value in settings.items()
        if name.startswith(PREFIXES) and name not in OF_AZURE
    }


def make_loud_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the least settings with which the worker exports.

    They include the sampler, because one that drops traces would make the figures look better than
    they are.
    """
    return {
        name: value
        for name, value in settings.items()
        if name == ENABLED or name.startswith(SAMPLER)
    }


def measure_telemetry(*, root: Path, model: str, settings: Mapping[str, str]) -> Telemetry:
    """Let a laptop idle and then run, and count what its apps export."""
    with run_ingestion() as ingestion:
        given = {**settings, CONNECTION_STRING: ingestion.connection_string}
        with parts.laptop(root=root, model=model, settings=given) as laptop:
            url = laptop.urls["main"]
            asyncio.run(_run(url, WARM_UP))
            time.sleep(EXPORT_SECONDS)
            first = Sent.so_far(ingestion)
            time.sleep(IDLE_SECONDS)
            second = Sent.so_far(ingestion)
            asyncio.run(_run(url, RUNS))
            time.sleep(EXPORT_SECONDS)
            third = Sent.so_far(ingestion)
    return Telemetry(idle=second.since(first), busy=third.since(second), runs=RUNS)


async def _run(url: str, count: int) -> None:
    async with Connection(url) as client:
        for _ in range(count):
            await one(client)


def compare_processor_time(
    *, root: Path, model: str, settings: Mapping[str, str]
) -> dict[str, list[dict[str, float]]]:
    """Return each app's milliseconds of processor time of a turn in each round, with telemetry on
    and off.

    Two laptops run the same turns in alternating rounds. A round includes the seconds after its
    turns, in which the exporters send what they have collected.
    """
    found: dict[str, list[dict[str, float]]] = {"on": [], "off": []}
    with contextlib.ExitStack() as stack:
        ingestion = stack.enter_context(run_ingestion())
        given = {**settings, CONNECTION_STRING: ingestion.connection_string}
        sides = {
            side: stack.enter_context(
                parts.laptop(root=root / side, model=model, settings=given if side == "on" else {})
            )
            for side in found
        }
        for laptop in sides.values():
            asyncio.run(_run(laptop.urls["main"], ROUND_TURNS))
        time.sleep(ROUND_EXPORT_SECONDS)
        for number in range(ROUNDS):
            for side in ("on", "off") if number % 2 else ("off", "on"):
                before = _read_processor_time(sides[side])
                asyncio.run(_run(sides[side].urls["main"], ROUND_TURNS))
                time.sleep(ROUND_EXPORT_SECONDS)
                after = _read_processor_time(sides[side])
                found[side].append(
                    {app: (after[app] - before[app]) / ROUND_TURNS * 1000 for app in after}
                )
        if ingestion.refused or not ingestion.items:
            raise RuntimeError(f"telemetry was refused or did not come: {ingestion.refused[:3]}")
    return found


def _read_processor_time(laptop: Laptop) -> dict[str, float]:
    """Return the seconds of processor time that each app has used, exporters' threads included."""
    return {name: read_processor_time(laptop.child(name).pid) for name in APP_FOLDERS}


def _read_app_settings(resource: Mapping[str, Any]) -> Mapping[str, str]:
    kind, name = str(resource["type"]), str(resource["name"])
    if kind != "Microsoft.Web/sites/config" or not name.endswith("/appsettings"):
        return {}
    properties: Mapping[str, str] = resource["properties"]
    return properties
