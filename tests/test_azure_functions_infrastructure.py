"""The three function apps as Azure sees them: triggers, host.json, and that each loads alone."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from aos.entrypoints.route import Route
from devhost.functions.settings import read_host_json
from tests.contract.functions.hosting import Running, start_host
from tests.trigger_table import ROUTES, Trigger, documented_triggers, entity, rows_of

REPOSITORY = Path(__file__).parents[1]
FOLDERS = {"main": REPOSITORY, "mcp": REPOSITORY / "mcp_app", "realm": REPOSITORY / "realm_app"}
BUS_SETTING = "AZURE_SERVICEBUS_CONNECTION_STRING"
HEAVY = (
    *("aiohttp", "azure.core", "azure.identity", "openai", "opentelemetry", "pydantic"),
    *("aos.ports", "aos.services"),  # ours, but the whole domain stands behind them
)
DEVELOPMENT = {"AZURE_FUNCTIONS_ENVIRONMENT": "Development"}
AZURE = {
    BUS_SETTING: "Endpoint=sb://x.example/;SharedAccessKeyName=k;SharedAccessKey=s",
    "AZURE_STORAGE_CONNECTION_STRING": "AccountName=x;AccountKey=s",
}
INDEX = """
import json, sys
from pathlib import Path
from devhost.functions.indexing import load_app
from devhost.functions.routes import RouteTable
from devhost.functions.settings import read_host_json
from devhost.functions.shadows import find_shadows
before = set(sys.modules)
folder = Path(sys.argv[1])
functions = load_app(folder, read_host_json(folder))
heavy = sorted(m for m in set(sys.modules) - before if m.startswith(tuple(sys.argv[2].split())))
import aos
table = RouteTable([f for f in functions if f.kind == "httpTrigger"], prefix="api")
print(json.dumps({
    "routes": [route.function.name for route in table.routes],
    "shadows": [[it.earlier.function.name, it.later.function.name]
                for it in find_shadows(table.routes)],
    "functions": [{"name": f.name, "trigger": dict(f.trigger)} for f in functions],
    "heavy": heavy,
    "aos": aos.__file__,
}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """An app as the worker's rules load it, in a process of its own."""

    functions: dict[str, Trigger]
    heavy: list[str]
    routes: list[str]
    """The HTTP functions in the order in which the host tries them."""
    shadows: list[list[str]]
    """Pairs: the function that takes requests, and the one that loses them."""
    aos: str


def stage(app: str, target: Path) -> Path:
    """The app as it is published: its own function_app.py and host.json at the root, and aos."""
    folder = target / app
    folder.mkdir()
    for name in ("function_app.py", "host.json"):
        shutil.copy(FOLDERS[app] / name, folder / name)
    shutil.copytree(
        REPOSITORY / "aos", folder / "aos", ignore=shutil.ignore_patterns("__pycache__")
    )
    return folder


def index(folder: Path, environment: dict[str, str]) -> Indexed:
    """Load the app in `folder` in a new process; raises AssertionError with what it said."""
    done = subprocess.run(
        [sys.executable, "-c", INDEX, str(folder), " ".join(HEAVY)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    functions = {item["name"]: item["trigger"] for item in found["functions"]}
    return Indexed(**{**found, "functions": functions})


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    target = tmp_path_factory.mktemp("staged")
    return {app: stage(app, target) for app in FOLDERS}


@pytest.fixture(scope="module")
def apps(staged: dict[str, Path]) -> dict[str, Indexed]:
    return {app: index(folder, DEVELOPMENT) for app, folder in staged.items()}


def test_each_app_loads_alone_from_its_staged_folder(
    staged: dict[str, Path], apps: dict[str, Indexed]
) -> None:
    for app, folder in staged.items():
        assert Path(apps[app].aos).is_relative_to(folder)
        assert apps[app].functions


def test_loading_an_app_imports_nothing_heavy(apps: dict[str, Indexed]) -> None:
    assert {app: indexed.heavy for app, indexed in apps.items()} == {a: [] for a in FOLDERS}


def takes_any(route: Route) -> bool:
    return route.method == "ANY" or route.any_method


def test_every_http_function_is_a_route_of_the_table(apps: dict[str, Indexed]) -> None:
    for app, indexed in apps.items():
        found = {
            name: (trigger["route"], tuple(trigger.get("methods", ())))
            for name, trigger in indexed.functions.items()
            if trigger["type"] == "httpTrigger"
        }
        assert found == {
            name: (route.path, () if takes_any(route) else (route.method,))
            for name, route in ROUTES[app].items()
        }


def test_no_route_takes_what_is_meant_for_a_later_one(apps: dict[str, Indexed]) -> None:
    assert {app: indexed.shadows for app, indexed in apps.items()} == {app: [] for app in FOLDERS}
    assert apps["main"].routes[-1] == "z_not_found"


def test_every_trigger_stands_in_the_table_of_the_architecture(
    staged: dict[str, Path], apps: dict[str, Indexed]
) -> None:
    found: set[tuple[str, ...]] = set()
    for app, indexed in apps.items():
        in_azure = index(staged[app], AZURE).functions
        found |= rows_of(app, indexed.functions, in_azure)
    assert documented_triggers() == found


def test_every_service_bus_trigger_asks_for_bytes_and_names_an_entity_that_exists(
    apps: dict[str, Indexed],
) -> None:
    entities = json.loads((REPOSITORY / "infra" / "servicebus.json").read_text("utf-8"))
    exist = {}
    for namespace in entities["UserConfig"]["Namespaces"]:
        for queue in namespace["Queues"]:
            exist[queue["Name"]] = queue["Properties"]["RequiresSession"]
        for topic in namespace["Topics"]:
            for subscription in topic["Subscriptions"]:
                name = f"{topic['Name']}/Subscriptions/{subscription['Name']}"
                exist[name] = subscription["Properties"]["RequiresSession"]
    read = {}
    for indexed in apps.values():
        for trigger in indexed.functions.values():
            if trigger["type"] == "serviceBusTrigger":
                assert str(trigger["dataType"]).upper() == "BINARY"
                assert trigger["connection"] == BUS_SETTING
                read[entity(trigger)] = bool(trigger.get("isSessionsEnabled"))
    assert read == {name: exist[name] for name in exist if name != "businessinfinity-responses"}


OPEN_TO_ALL = ("health", "status", "console", "console_file")


def test_only_health_status_console_and_doors_are_open_to_the_host_when_keys_are_asked_for(
    staged: dict[str, Path],
) -> None:
    for app, folder in staged.items():
        for mode, environment, level in (
            ("off", {**DEVELOPMENT, "AOS_AUTH": "off"}, "ANONYMOUS"),
            ("keys", {**DEVELOPMENT, "AOS_AUTH": "keys"}, "FUNCTION"),
            ("keys in Azure", AZURE, "FUNCTION"),
            ("easyauth in Azure", {**AZURE, "AOS_AUTH": "easyauth"}, "ANONYMOUS"),
        ):
            found = {
                name: trigger["authLevel"]
                for name, trigger in index(folder, environment).functions.items()
                if trigger["type"] == "httpTrigger"
            }
            checks = [name for name, route in ROUTES[app].items() if route.checks_keys]
            open_to_all = {name: "ANONYMOUS" for name in OPEN_TO_ALL if name in ROUTES[app]}
            open_to_all |= dict.fromkeys(checks, "ANONYMOUS")
            assert found == {**dict.fromkeys(ROUTES[app], level), **open_to_all}, (app, mode)


def test_a_wrong_setting_stops_an_app_with_one_line_that_names_it(staged: dict[str, Path]) -> None:
    with pytest.raises(
        AssertionError, match=r"ConfigurationError: AOS_AUTH='maybe' is not a known value"
    ):
        index(staged["main"], {**DEVELOPMENT, "AOS_AUTH": "maybe"})
    with pytest.raises(AssertionError, match="publish build/realm"):
        index(staged["main"], {**DEVELOPMENT, "AOS_APP": "realm"})


@pytest.mark.parametrize("app", FOLDERS)
def test_every_function_is_one_call_of_an_entry_point(app: str) -> None:
    tree = ast.parse((FOLDERS[app] / "function_app.py").read_text("utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.AsyncFunctionDef)]
    others = [type(node) for node in tree.body if not isinstance(node, ast.AsyncFunctionDef)]
    assert others == [ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.Assign]
    for function in functions:
        (statement,) = function.body
        assert isinstance(statement, ast.Return | ast.Expr)
        assert isinstance(statement.value, ast.Await)
        called = statement.value.value
        assert isinstance(called, ast.Call)
        assert ast.unparse(called.func).startswith(f"{app}.")
        assert [ast.unparse(argument) for argument in called.args] == [function.args.args[0].arg]


@pytest.mark.parametrize("app", FOLDERS)
def test_an_app_imports_azure_functions_and_the_bootstrap_only(app: str) -> None:
    tree = ast.parse((FOLDERS[app] / "function_app.py").read_text("utf-8"))
    imported = [
        ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)
    ]
    assert imported == ["import azure.functions as func", f"from aos.bootstrap import {app}_app"]


@pytest.mark.parametrize("app", FOLDERS)
def test_host_json_keeps_the_bounds_of_the_design(app: str) -> None:
    document = json.loads((FOLDERS[app] / "host.json").read_text("utf-8"))
    bus = document["extensions"]["serviceBus"]
    assert document["version"] == "2.0"
    assert document["extensionBundle"]["version"] == "[4.0.0, 5.0.0)"
    assert document["functionTimeout"] == "00:10:00"
    assert document["telemetryMode"] == "OpenTelemetry"
    assert (bus["prefetchCount"], bus["autoCompleteMessages"]) == (0, True)
    options = read_host_json(FOLDERS[app])
    assert options.route_prefix == "api"
    if app == "realm":
        assert bus["maxConcurrentSessions"] == 64
        assert bus["maxAutoLockRenewalDuration"] == "23:59:59"
        assert options.bus.session_idle_seconds == 0.25
    else:
        assert bus["maxAutoLockRenewalDuration"] == "00:10:00"
        assert document["extensions"]["queues"]["messageEncoding"] == "none"


def test_the_plans_four_values_start_main(staged: dict[str, Path]) -> None:
    folder = staged["main"]
    plan = REPOSITORY / "tests" / "fixtures" / "plan-settings.json"
    settings = folder / "local.settings.json"
    shutil.copyfile(plan, settings)
    process = start_host(folder)
    try:
        running = Running(process)
        status, _, body = running.request("GET", "/api/status")
        head = running.request("HEAD", "/api/status")
        refused = {
            asked: running.request(*asked)[:2]
            for asked in (("POST", "/api/status"), ("PATCH", "/api/agents/ceo"))
        }
    finally:
        settings.unlink()
        process.kill()
        process.communicate(timeout=10)
    assert status == 200
    assert {"version": "2.0.0", "environment": "dev"}.items() <= json.loads(body).items()
    assert (head[0], head[2]) == (200, b"")
    assert {asked: (code, headers["allow"]) for asked, (code, headers) in refused.items()} == {
        ("POST", "/api/status"): (405, "GET, HEAD"),
        ("PATCH", "/api/agents/ceo"): (405, "DELETE, GET, PUT"),
    }
