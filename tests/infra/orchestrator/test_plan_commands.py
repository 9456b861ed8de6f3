"""The commands of the deployment plan run as they are written, after `cd infra`.

fixtures/plan-commands.sh holds them word for word; shell and pipeline variables are filled in as
a shell or a pipeline would.
"""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from infra.orchestrator.health_cli import main as health_check
from tests.infra.orchestrator.conftest import INFRA
from tests.infra.orchestrator.world import DEV, World

PLAN = Path(__file__).parents[1] / "fixtures" / "plan-commands.sh"
COMMANDS = PLAN.read_text().strip().split("\n\n")
FILLED = {
    "GIT_SHA": "0123456789abcdef0123456789abcdef01234567",
    "github.sha": "0123456789abcdef0123456789abcdef01234567",
    "Build.SourceVersion": "0123456789abcdef0123456789abcdef01234567",
    "Build.ArtifactStagingDirectory": ".",
    "vars.RESOURCE_GROUP": "rg-aos-dev",
    "vars.LOCATION": "eastus",
    "vars.ENVIRONMENT": "dev",
    "ResourceGroup": "rg-aos-dev",
    "Location": "eastus",
    "Environment": "dev",
}
_VARIABLE = re.compile(r"\$\{\{ (?P<a>[\w.]+) \}\}|\$\((?P<b>[\w.]+)\)|\$(?P<c>\w+)")


def _argv(command: str) -> list[str]:
    filled = _VARIABLE.sub(lambda it: FILLED[it["a"] or it["b"] or it["c"]], command)
    return shlex.split(filled.replace("\\\n", " "))[1:]


DEPLOYS = [it for it in COMMANDS if it.startswith("python3 deploy.py")]
HEALTH = [it for it in COMMANDS if it.startswith("python3 scripts/health_check.py")]


def test_every_command_of_the_plan_is_here() -> None:
    assert (len(DEPLOYS), len(HEALTH)) == (8, 1)
    assert len(COMMANDS) == 9


@pytest.mark.parametrize("number", range(len(DEPLOYS)))
def test_recorded_az_command_of_the_plan_deploys_as_typed(
    world: World, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    script, *argv = _argv(DEPLOYS[number])
    values = dict(pairwise(argv))
    region = values.get("--location") or values["-l"]
    world.commit()
    for name in ("dev", "prod", "prod-dr"):
        world.parameters(name, {**DEV, "location": region})
    (world.infra / "rollback-params.json").write_text(
        f'{{"environment": {{"type": "String", "value": "dev"}}, '
        f'"location": {{"type": "String", "value": "{region}"}}}}'
    )
    world.az.answers("account list-locations", [region])
    monkeypatch.chdir(world.infra)
    if "--audit-dir" in argv:
        world.audit = world.infra / argv[argv.index("--audit-dir") + 1]
    assert script == "deploy.py"
    assert world.run(*argv) == 0, world.said
    (created,) = world.az.calls("deployment group create")
    assert created[created.index("--template-file") + 1] == str(world.infra / "main-modular.bicep")
    assert world.record()["location"] == region


def test_recorded_az_health_check_of_the_plan_runs_as_typed(world: World) -> None:
    world.az.answers("deployment group list", [])
    assert health_check(_argv(HEALTH[0])[1:]) == 2
    assert world.az.calls("deployment group list")[0][3:5] == ["--resource-group", "rg-aos-dev"]


@pytest.mark.parametrize("script", ["deploy.py", "health_check.py"])
@pytest.mark.parametrize("folder", [INFRA, INFRA.parent])
def test_the_scripts_start_from_either_folder(script: str, folder: Path) -> None:
    path = (INFRA / script).relative_to(folder)
    done = subprocess.run(
        [sys.executable, str(path), "--help"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "exit codes:" in done.stdout


# What came after Python 3.10, by module.
TOO_NEW = {
    "datetime": {"UTC"},
    "enum": {"StrEnum"},
    "typing": {"Self", "assert_never", "LiteralString", "Never", "NotRequired", "override"},
    "asyncio": {"TaskGroup", "Runner", "timeout"},
    "contextlib": {"chdir"},
    "itertools": {"batched"},
}
SOURCES = [
    INFRA / "deploy.py",
    INFRA / "health_check.py",
    *sorted((INFRA / "orchestrator").glob("*.py")),
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda it: it.stem)
def test_python_3_10_and_its_library_are_enough(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 10))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            names = {it.name for it in node.names}
            assert not names & TOO_NEW.get(node.module, set())
            assert _known(node.module)
        elif isinstance(node, ast.Import):
            assert all(_known(it.name) for it in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert node.attr not in TOO_NEW.get(node.value.id, set())


def _known(module: str) -> bool:
    top = module.partition(".")[0]
    return top == "infra" or (top in sys.stdlib_module_names and top != "tomllib")


@pytest.mark.parametrize("script", ["deploy.py", "health_check.py"])
def test_an_older_python_is_told_so_in_one_line(script: str) -> None:
    shown = f"import sys, runpy; sys.version_info = (3, 9); runpy.run_path({str(INFRA / script)!r})"
    done = subprocess.run(
        [sys.executable, "-c", shown], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"{script} needs Python 3.10 or newer; this is ")
    assert done.stderr.count("\n") == 1
