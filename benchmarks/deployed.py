"""Measures cold starts of packages as a site mounts them. Entry point: `measure`.

A package is unpacked, Python may not write bytecode beside it, and Microsoft's worker starts on it.
The measurement ends with the worker's answer to the first call. The telemetry settings are those
that Bicep writes for prod; exports go to an endpoint on this machine.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientConnectorError, ClientSession

from benchmarks.cold import HELLO
from benchmarks.figures import Report, median
from benchmarks.ingestion import run_ingestion
from benchmarks.telemetry import CONNECTION_STRING, make_deployed_settings
from devhost.functions.http_streams import INVOCATION_ID, START_SECONDS
from devhost.laptop import REPOSITORY
from devhost.ports import HOST
from devhost.worker.client import Worker
from devhost.worker.messages import messages
from devhost.worker.pythons import read_version

UP = "devhost.worker.process: the runtime is imported"
CONFIGURED = "Successfully configured Azure monitor distro"
PACKAGE_SECONDS = 900
_IMPORT = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)


APPS = ("hello", "main", "realm")
BYTECODE = {"without .pyc": "none", "with .pyc": "require"}
NOT_ELSEWHERE = {"APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true"}
"""The exporter's telemetry about itself, which would go to Microsoft."""
ROUNDS = 7
MOST_ADDED_MS = 150
LARGEST = 8
"""How many of the largest imports are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The milliseconds from the start of the worker's process to the first answer, and their
    parts."""

    total: float
    phases: Mapping[str, float]
    imports: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """An unpacked package, the Python with the worker, and the site's settings."""

    package: Path
    python: Path
    settings: Mapping[str, str]

    def start(self, *, profile: bool = False) -> Start:
        """Measure one cold start; `profile` also sums up imports, which takes time itself."""
        environment = {**self.settings, "PYTHONDONTWRITEBYTECODE": "1"}
        if profile:
            environment["PYTHONPROFILEIMPORTTIME"] = "1"
        with tempfile.TemporaryFile("w+b") as log:
            worker = Worker.start(self.python, self.package, environment, log=log)
            answered = asyncio.run(_wait_for_answer(worker))
            log.seek(0)
            said = log.read().decode("utf-8", "replace")
        return Start(
            total=(answered - worker.marks["started"]) * 1000,
            phases=dict(_list_phases(said, worker.marks, answered)),
            imports=_read_imports(said),
        )


def measure(report: Report, root: Path, python: Path) -> None:
    """Print starts without and with bytecode, and what AOS's apps add to hello world."""
    version = python_version(python)
    for bytecode in BYTECODE.values():
        make_packages(root / bytecode, bytecode=bytecode, version=version)
    with run_ingestion() as ingestion:
        telemetry = {
            **make_deployed_settings(),
            CONNECTION_STRING: ingestion.connection_string,
            **NOT_ELSEWHERE,
        }
        for packed, bytecode in BYTECODE.items():
            for title, settings in (("no telemetry", {}), ("telemetry as in prod", telemetry)):
                sites = {app: site(root / bytecode / app, python, settings) for app in APPS}
                found = _measure_starts(sites)
                report.say(f"  {packed}, {title}")
                for app, starts in found.items():
                    report.figure(f"    {app}", _describe(starts))
        # The last one is what a site has: bytecode and telemetry.
        for app in APPS[1:]:
            added = _compute_added(found[app], found["hello"])
            report.held(f"what {app} adds to hello world", added, most=MOST_ADDED_MS, unit="ms")
            report.figure(
                "    share of imports (measured with a profiler)", _find_added_imports(sites, app)
            )


def python_version(python: Path) -> str:
    """Return the version of a Python in the form that packages use."""
    version = read_version(python, os.environ)
    if version is None:
        raise RuntimeError(f"{python} does not run")
    return f"{version[0]}.{version[1]}"


def site(package: Path, python: Path, settings: Mapping[str, str]) -> Site:
    """Make a site of a package that needs nothing of Azure to start."""
    own = {"PATH": os.environ["PATH"], "AZURE_FUNCTIONS_ENVIRONMENT": "Development"}
    return Site(package=package, python=python, settings={**own, **settings})


def _measure_starts(sites: Mapping[str, Site]) -> dict[str, list[Start]]:
    """Measure starts in alternating rounds, after one start of each that fills the file cache."""
    found: dict[str, list[Start]] = {app: [] for app in sites}
    for turn in range(ROUNDS + 1):
        for app, site in sites.items():
            start = site.start()
            if turn:
                found[app].append(start)
    return found


def _compute_added(ours: list[Start], theirs: list[Start]) -> float:
    """Return the additional milliseconds as the median over rounds; both starts of a round ran
    under the same conditions."""
    pairs = zip(ours, theirs, strict=True)
    return median([mine.total - other.total for mine, other in pairs])


def _describe(starts: list[Start]) -> str:
    parts = ", ".join(
        f"{name} {median([start.phases[name] for start in starts]):.0f}"
        for name in starts[0].phases
    )
    return f"{median([start.total for start in starts]):.0f} ms: {parts}"


def _find_added_imports(sites: Mapping[str, Site], app: str) -> str:
    """Return what an app imports beyond hello world, the largest first."""
    plain, full = sites["hello"].start(profile=True), sites[app].start(profile=True)
    added: Counter[str] = Counter()
    for module, microseconds in full.imports.items():
        if module not in plain.imports:
            parts = module.split(".")
            added[".".join(parts[: 2 if parts[0] in ("aos", "azure") else 1])] += microseconds
    largest = [f"{name} {spent / 1000:.0f}" for name, spent in added.most_common(LARGEST)]
    return f"{added.total() / 1000:.0f} ms: {', '.join(largest)}"


def make_packages(out: Path, *, bytecode: str, version: str) -> None:
    """Make sites of main and realm with their dependencies, and of a hello-world app with
    main's."""
    command = [sys.executable, str(REPOSITORY / "infra" / "package.py"), "main", "realm"]
    command += ["--dependencies", "--python-version", version, "--bytecode", bytecode]
    subprocess.run(
        [*command, "--out", str(out)],
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=PACKAGE_SECONDS,
    )
    hello = shutil.copytree(out / "main", out / "hello")
    for own in ("aos", "__pycache__"):
        shutil.rmtree(hello / own, ignore_errors=True)
    (hello / "function_app.py").write_text(HELLO, "utf-8")


async def _wait_for_answer(worker: Worker) -> float:
    """Wait until the first call was answered; kill the process before it exports anything."""
    (status,) = (one for one in worker.functions if one.name == "status")
    invocation_id = str(uuid.uuid4())
    http = messages.RpcHttp(method="GET", url=f"http://{HOST}/api/status")
    request = messages.InvocationRequest(
        invocation_id=invocation_id,
        function_id=status.function_id,
        input_data=[
            messages.ParameterBinding(name="req", data=messages.TypedData(http=http)),
        ],
    )
    invoking = asyncio.create_task(worker.invoke(request))
    try:
        if worker.http_address is None:
            answered = str((await invoking).return_value.http.status_code)
        else:
            answered = await _forward(worker.http_address, invocation_id)
        at = time.time()
        await invoking
    finally:
        invoking.cancel()
        worker.process.kill()
        worker.stop()
    if answered != "200":
        raise RuntimeError(f"status answered {answered}")
    return at


async def _forward(address: str, invocation_id: str) -> str:
    """Send the request as the host forwards it to an app that streams; return the status."""
    headers = {INVOCATION_ID: invocation_id}
    deadline = time.monotonic() + START_SECONDS
    async with ClientSession() as session:
        while True:
            try:
                async with session.get(f"{address}/api/status", headers=headers) as answer:
                    return str(answer.status)
            except ClientConnectorError:  # the server is starting
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.001)


def _list_phases(
    said: str, marks: Mapping[str, float], answered: float
) -> Iterator[tuple[str, float]]:
    """Return the phases of the time, in order."""
    at = marks["started"]
    points: list[tuple[str, float | None]] = [
        ("Python and the worker", _read_moment(said, UP)),
        ("telemetry", _read_moment(said, CONFIGURED)),
        ("index", marks["indexed"]),
        ("load", marks["loaded"]),
        ("first answer", answered),
    ]
    for name, moment in points:
        if moment is not None:
            yield name, (moment - at) * 1000
            at = moment


def _read_moment(said: str, text: str) -> float | None:
    found = re.search(rf"^(\d+\.\d+) .*{re.escape(text)}", said, re.MULTILINE)
    return float(found[1]) if found else None


def _read_imports(said: str) -> dict[str, int]:
    """Return the microseconds of each module's own import."""
    return {module: int(spent) for spent, module in _IMPORT.findall(said)}
