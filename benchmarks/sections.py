"""Measures what `make bench` reports. One function measures one section."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from azure.storage.blob import ContainerClient

from benchmarks import cold, deployed, parts
from benchmarks import telemetry as telemetry_measures
from benchmarks import turns as turn_measures
from benchmarks.budget import Budget, count_turns
from benchmarks.ceiling import count_calls_of_turn, measure_ceiling
from benchmarks.figures import Report, median, percentile
from benchmarks.walls import compare
from devhost.functions.settings import CORES, BusOptions, read_cores, read_host_json
from devhost.laptop import REPOSITORY, Laptop
from devhost.worker.pythons import NoWorkerPython
from devhost.worker.setup import prepare_worker

OURS = ("main", "mcp", "realm", "servicebus")
WARM_UP = 30
MODEL_SECONDS = 0.2
KILOBYTE = 1024
MEGABYTE = 1024 * 1024


def turns(report: Report, root: Path) -> None:
    """Measure one client over HTTP and over the queue, beside the floor, in alternating blocks."""
    report.head("A turn of one client, with a model that answers at once")
    with (
        parts.instant_model() as model,
        parts.floor(model=model, data=root / "floor.db") as floor_url,
        parts.laptop(root=root / "aos", model=model) as laptop,
    ):
        urls = {"floor": floor_url, "AOS": laptop.urls["main"]}
        asyncio.run(turn_measures.side_by_side(urls, rounds=1, each=WARM_UP))
        with _processor_time(laptop) as spent:
            found = asyncio.run(turn_measures.side_by_side(urls, rounds=10, each=20))
        floor = [turn.milliseconds for turn in found["floor"]]
        ours = [turn.milliseconds for turn in found["AOS"]]
        report.figure("floor, p50 / p95", f"{median(floor):.1f} / {percentile(floor, 0.95):.1f} ms")
        report.figure(
            "AOS over HTTP, p50 / p95", f"{median(ours):.1f} / {percentile(ours, 0.95):.1f} ms"
        )
        report.held("AOS over HTTP, p50", median(ours), most=12 * median(floor), unit="ms")
        report.held("AOS over HTTP, p95", percentile(ours, 0.95), most=2 * median(ours), unit="ms")
        for stage, values in turn_measures.stages(found["AOS"]).items():
            report.figure(f"  {stage}", f"{median(values):.1f} ms")
        cpu = spent()
        report.held(
            "processor time a turn, without Azurite", cpu / len(ours) * 1000, most=50, unit="ms"
        )
        queue = turn_measures.over_the_queue(laptop.servicebus_connection_string, count=100)
        report.held("AOS over the queue, p50", median(queue), most=12 * median(floor), unit="ms")
        report.held(
            "AOS over the queue, p95", percentile(queue, 0.95), most=2 * median(queue), unit="ms"
        )


def budget(report: Report, root: Path) -> None:
    """Count the storage calls and bus messages of a turn."""
    report.head("Calls of a turn (without the polls of a waiting caller)")
    with parts.instant_model() as model:
        found = count_turns(root=root, model=model, turns=60)
    _say_budget(report, found)


def tools(report: Report, root: Path) -> None:
    """Measure what a turn with one call of a real MCP server's tool adds to a run."""
    report.head("A tool turn, with a model and a tool that answer at once")
    with parts.instant_model() as model, parts.laptop(root=root / "aos", model=model) as laptop:
        url = laptop.urls["main"]
        parts.put_agent_with_a_tool(url)
        asyncio.run(turn_measures.with_a_tool(url, rounds=2, each=WARM_UP // 2))
        found = asyncio.run(turn_measures.with_a_tool(url, rounds=10, each=15))
    plain = median(found["without"])
    added = [milliseconds - plain for milliseconds in found["with"]]
    report.figure(
        "a run without a tool / with one, p50", f"{plain:.1f} / {median(found['with']):.1f} ms"
    )
    report.held("what the tool turn adds, p50", median(added), most=80, unit="ms")
    report.held("what the tool turn adds, p95", percentile(added, 0.95), most=200, unit="ms")


def history(report: Report, root: Path) -> None:
    """Measure a turn on a long conversation, beside one on a short conversation."""
    report.head("A turn with 1,000 messages of history, beside one with 10")
    with parts.instant_model() as model, parts.laptop(root=root / "aos", model=model) as laptop:
        url = laptop.urls["main"]
        long = asyncio.run(turn_measures.grown(url, messages=1000))
        short = asyncio.run(turn_measures.grown(url, messages=10))
        found = asyncio.run(turn_measures.by_history(url, {10: short, 1000: long}, each=15))
    ten, thousand = median(found[10]), median(found[1000])
    report.figure("10 messages / 1,000 messages, p50", f"{ten:.1f} / {thousand:.1f} ms")
    report.held("1,000 messages over 10", thousand / ten, most=1.3, unit="times")


def load(report: Report, root: Path) -> None:
    """Measure turns a second at 8 and 32 clients, beside plain SDK processes on the same storage.

    It does so with all cores of the machine and with one core, which a small instance in Azure has.
    """
    report.head("Turns a second, beside the storage ceiling")
    machine = read_cores({})
    for clients, delay in ((8, 0.0), (32, MODEL_SECONDS)):
        for cores in sorted({machine, 1}, reverse=True):
            folder = root / f"aos-{clients}-{cores}"
            found = _measure_load(folder, clients=clients, delay=delay, cores=cores)
            _say_load(report, found, clients=clients, delay=delay)
            name = f"  {clients} clients, {cores} core{'s' if cores > 1 else ''} a host"
            if cores == machine:
                report.reached(name, found.rate, least=0.6 * found.ceiling, unit="turns/s")
            else:
                report.figure(name, f"{found.rate:.1f} turns/s, {found.share:.0%} of the ceiling")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The figures of the clients in some rounds, and the storage ceiling measured between them."""

    rate: float
    latencies: list[float]
    ceiling: float
    calls: int
    bus: BusOptions

    @property
    def share(self) -> float:
        """Return the rate as a share of the ceiling."""
        return self.rate / self.ceiling


def _measure_load(root: Path, *, clients: int, delay: float, cores: int) -> Load:
    with (
        parts.instant_model(delay=delay) as model,
        parts.laptop(root=root, model=model, settings={CORES: str(cores)}) as laptop,
    ):
        url, storage = laptop.urls["main"], laptop.storage_connection_string
        asyncio.run(turn_measures.at_once(url, clients=clients, seconds=3))
        rates, latencies, ceilings = [], [], []
        for _ in range(3):
            rate, some = asyncio.run(turn_measures.at_once(url, clients=clients, seconds=6))
            rates.append(rate)
            latencies += some
            ceilings.append(measure_ceiling(storage, seconds=5))
        calls = asyncio.run(count_calls_of_turn(storage))
    return Load(
        rate=median(rates),
        latencies=latencies,
        ceiling=median(ceilings),
        calls=calls,
        bus=read_host_json(REPOSITORY / "realm_app", cores=cores).bus,
    )


def _say_load(report: Report, found: Load, *, clients: int, delay: float) -> None:
    bus = found.bus
    report.figure(
        f"{clients} clients, model {delay * 1000:.0f} ms: p50 / p95",
        f"{median(found.latencies):.0f} / {percentile(found.latencies, 0.95):.0f} ms",
    )
    report.figure(
        f"  assumed: {CORES}={bus.cores}",
        f"realm asks for {bus.concurrent_accepts} sessions at once, "
        f"{bus.max_concurrent_sessions} may be open",
    )
    report.figure(
        f"  the storage ceiling ({found.calls} calls a turn)", f"{found.ceiling:.1f} turns/s"
    )


def cold_start(report: Report, root: Path) -> None:
    """Measure the time from an app's start to its first answer, beside hello world, and to a first
    run."""
    report.head("Cold start, to the first GET /api/status")
    with parts.instant_model() as model, parts.laptop(root=root / "aos", model=model) as laptop:
        environment = laptop.settings.for_apps()
        folders = {
            "hello world": cold.write_hello_world(root / "hello"),
            "main": REPOSITORY,
            "realm": REPOSITORY / "realm_app",
        }
        found: dict[str, list[float]] = {name: [] for name in folders}
        for _ in range(7):
            for name, folder in folders.items():
                found[name].append(cold.measure_first_status(folder, environment))
        hello = median(found["hello world"])
        report.figure("hello world", f"{hello:.2f} s")
        for name in ("main", "realm"):
            report.held(name, median(found[name]), most=1.5 * hello, unit="s")
        report.held(
            "both apps restarted, to the end of a first run", _first_run(laptop), most=4, unit="s"
        )


def deployed_start(report: Report, root: Path) -> None:
    """Measure cold starts of the packages as a site mounts them, under Microsoft's worker."""
    report.head("Cold start as deployed: read-only, under Microsoft's worker, to the first answer")
    try:
        python = prepare_worker(REPOSITORY, os.environ, report.say)
    except NoWorkerPython as error:
        report.say(f"  NOT MEASURED: {error}")
        report.missed.append("the cold start as deployed was not measured")
        return
    deployed.measure(report, root, python)


def cards(report: Report, root: Path) -> None:
    """Measure how soon a card is live, alone and among 1,000."""
    report.head("From upload to live")
    with parts.instant_model() as model, parts.laptop(root=root / "aos", model=model) as laptop:
        config = ContainerClient.from_connection_string(
            laptop.storage_connection_string, "aos-config"
        )
        with config:
            alone = [_upload_to_live(config, f"alone-{number}") for number in range(5)]
            report.held("one card, the slowest of 5", max(alone), most=10, unit="s")
            for number in range(1000):
                _upload(config, f"many-{number}", purpose="One of a thousand.")
            began = time.perf_counter()
            _until_live(config, "many-999")
            report.held(
                "1,000 cards, after the last upload", time.perf_counter() - began, most=15, unit="s"
            )
            edits = [_upload_to_live(config, f"many-{number}") for number in range(3)]
            report.held("an edit among 1,000, the slowest of 3", max(edits), most=10, unit="s")


def walls(report: Report, root: Path) -> None:
    """Measure what walls add to the start of an MCP server and to a call of a tool."""
    report.head("An MCP server from npm with walls, beside the same without")
    found = asyncio.run(compare(root / "homes", rounds=10))
    (bare_start, bare_call), (start, call) = found["off"], found["auto"]
    report.figure("start without walls, median", f"{median(bare_start):.3f} s")
    report.held("start with walls, median", median(start), most=1.2 * median(bare_start), unit="s")
    report.figure("call without walls, median", f"{1000 * median(bare_call):.2f} ms")
    most = 1000 * 1.2 * median(bare_call)
    report.held("call with walls, median", 1000 * median(call), most=most, unit="ms")


def memory(report: Report, root: Path) -> None:
    """Measure the resident memory of each idle app."""
    report.head("Memory of an idle app, after 100 turns")
    with parts.instant_model() as model, parts.laptop(root=root / "aos", model=model) as laptop:
        asyncio.run(turn_measures.side_by_side({"AOS": laptop.urls["main"]}, rounds=1, each=100))
        for name in ("main", "mcp", "realm"):
            used = psutil.Process(laptop.child(name).pid).memory_info().rss / MEGABYTE
            report.held(name, used, most=150, unit="MB")
        everything = ("main", "mcp", "realm", "servicebus", "azurite")
        used = {name: psutil.Process(laptop.child(name).pid) for name in everything}
        resident = {name: it.memory_info().rss / MEGABYTE for name, it in used.items()}
        shared_once = sum(it.memory_full_info().pss for it in used.values()) / MEGABYTE
        report.figure("local Service Bus", f"{resident['servicebus']:.0f} MB")
        report.figure("Azurite", f"{resident['azurite']:.0f} MB")
        report.figure("all, resident", f"{sum(resident.values()):.0f} MB")
        report.figure("all, with pages of several processes once", f"{shared_once:.0f} MB")


def telemetry(report: Report, root: Path) -> None:
    """Count rows and bytes that the apps export, by the worker's default and as deployed.

    In both, the apps themselves quiet the loggers of the Azure SDKs.
    """
    report.head("Telemetry of the apps under the worker (the host's own rows apart)")
    deployed = telemetry_measures.make_deployed_settings()
    with parts.instant_model() as model:
        before = telemetry_measures.measure_telemetry(
            root=root / "before",
            model=model,
            settings=telemetry_measures.make_loud_settings(deployed),
        )
        after = telemetry_measures.measure_telemetry(
            root=root / "after", model=model, settings=deployed
        )
    _say_telemetry(report, "before, without the settings of Bicep", before)
    _say_telemetry(report, "after, with them", after)
    report.held("rows a run", after.rows_a_run, most=5, unit="rows")
    report.held("bytes a run", after.bytes_a_run / KILOBYTE, most=10, unit="KB")
    report.held(
        "bytes in 30 idle seconds, all apps", after.idle_bytes / KILOBYTE, most=15, unit="KB"
    )


def telemetry_cost(report: Report, root: Path) -> None:
    """Compare the processor time of a turn with telemetry as deployed and without, in one run."""
    report.head("Processor time of a turn, telemetry on against off (the three apps)")
    with parts.instant_model() as model:
        found = telemetry_measures.compare_processor_time(
            root=root, model=model, settings=telemetry_measures.make_deployed_settings()
        )
    medians = {}
    for side, rounds in found.items():
        values = [sum(apps.values()) for apps in rounds]
        medians[side] = median(values)
        spread = f"{min(values):.1f} to {max(values):.1f} in {len(values)} rounds"
        report.figure(f"{side}: median of the rounds", f"{medians[side]:.1f} ms ({spread})")
        for app in rounds[0]:
            report.figure(f"  {app}", f"{median([apps[app] for apps in rounds]):.1f} ms")
    report.figure("load of the machine (1 min)", f"{os.getloadavg()[0]:.1f}")
    more = (medians["on"] / medians["off"] - 1) * 100
    report.held("more with telemetry", more, most=10, unit="%")


def _say_telemetry(report: Report, name: str, found: telemetry_measures.Telemetry) -> None:
    report.figure(
        f"{name}: a run", f"{found.rows_a_run:.1f} rows, {found.bytes_a_run / KILOBYTE:.1f} KB"
    )
    for table, rows in found.tables_a_run.items():
        report.figure(f"  {table} for each run, including idle traffic", f"{rows:.1f}")
    for app, rows_of_app in sorted(found.busy.rows.items()):
        size = found.busy.size[app] / found.runs / KILOBYTE
        report.figure(f"  {app} a run", f"{rows_of_app / found.runs:.1f} rows, {size:.1f} KB")
    idle = found.idle
    report.figure(
        f"{name}: {idle.at:.0f} idle seconds",
        f"{idle.rows.total()} rows, {idle.size.total() / KILOBYTE:.1f} KB",
    )
    for app, rows_of_app in sorted(idle.rows.items()):
        report.figure(f"  {app}", f"{rows_of_app} rows, {idle.size[app] / KILOBYTE:.1f} KB")


def _say_budget(report: Report, found: Budget) -> None:
    for name, calls in sorted(found.storage.items()):
        report.figure(f"  {name}", f"{calls / found.turns:.2f}")
    report.held("storage calls a turn", found.storage_calls, most=8, unit="calls")
    report.held("bus messages a turn", found.bus_messages, most=3, unit="messages")


@contextlib.contextmanager
def _processor_time(laptop: Laptop) -> Iterator[Callable[[], float]]:
    """Yield a function that returns the seconds of processor time that the laptop's processes used
    in the block."""
    processes = [psutil.Process(laptop.child(name).pid) for name in OURS]

    def total() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    began = total()
    ended: list[float] = []
    yield lambda: (ended[0] if ended else total()) - began
    ended.append(total())


def _first_run(laptop: Laptop) -> float:
    """Return the seconds from starting main and realm to the end of a run that is requested at
    once."""
    for name in ("main", "realm"):
        laptop.take_down(name)
    began = time.perf_counter()
    for name in ("main", "realm"):
        laptop.bring_up(name)
    asyncio.run(turn_measures.side_by_side({"AOS": laptop.urls["main"]}, rounds=1, each=1))
    return time.perf_counter() - began


def _upload(config: ContainerClient, agent_id: str, *, purpose: str) -> str:
    body = json.dumps({"agent_id": agent_id, "purpose": purpose})
    return str(config.upload_blob(f"agents/{agent_id}.json", body, overwrite=True).blob_name)


def _upload_to_live(config: ContainerClient, agent_id: str) -> float:
    body = json.dumps({"agent_id": agent_id, "purpose": f"As of {time.time()}."})
    blob = config.get_blob_client(f"agents/{agent_id}.json")
    began = time.perf_counter()
    etag = blob.upload_blob(body, overwrite=True)["etag"]
    _until_live(config, agent_id, etag=etag)
    return time.perf_counter() - began


def _until_live(config: ContainerClient, agent_id: str, *, etag: str | None = None) -> None:
    deadline = time.monotonic() + 120
    status = config.get_blob_client(f"status/agents/{agent_id}.json")
    while time.monotonic() < deadline:
        if status.exists():
            said = json.loads(status.download_blob().readall())
            if etag in (None, said["source_etag"]):
                if said["state"] != "active":
                    raise RuntimeError(f"the card of {agent_id} is {said['state']}")
                return
        time.sleep(0.05)
    raise RuntimeError(f"the card of {agent_id} is not live after two minutes")
