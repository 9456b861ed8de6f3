"""The package and the layout: what is in the wheel, what the apps may see, how long things are."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
APPS = ("function_app.py", "mcp_app/function_app.py", "realm_app/function_app.py")
SHIPPED = ("main", "mcp", "realm", "async", "testing")
"""The extras whose packages `aos` imports."""
PARTS = {
    "anyio": "mcp",
    "azure-core": "azure-data-tables",
    "mcp-types": "mcp",
    "opentelemetry-api": "azure-monitor-opentelemetry",
    "pydantic-core": "pydantic",
}
"""Packages whose classes are in the interface of another, which brings them."""
LONGEST_MODULE = 500
LONGEST_FUNCTION = 70
BUILD_TIMEOUT_SECONDS = 120


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel and sdist as `python -m build` makes them, with the build tool of the lock."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_wheel_holds_aos_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(built / "aos-2.0.0-py3-none-any.whl") as wheel:
        names = wheel.namelist()
        metadata = wheel.read("aos-2.0.0.dist-info/METADATA").decode()
        scripts = wheel.read("aos-2.0.0.dist-info/entry_points.txt").decode()
    assert {name.split("/")[0] for name in names} == {"aos", "aos-2.0.0.dist-info"}
    assert "Requires-Python: >=3.11" in metadata
    assert {"full", "dev"} <= set(re.findall(r"^Provides-Extra: (\S+)$", metadata, re.MULTILINE))
    assert "aos = aos.client.cli:main" in scripts


def test_the_sdist_can_be_built_from(built: Path) -> None:
    with tarfile.open(built / "aos-2.0.0.tar.gz") as sdist:
        names = set(sdist.getnames())
    assert {"aos-2.0.0/pyproject.toml", "aos-2.0.0/README.md", "aos-2.0.0/LICENSE"} <= names
    assert not any(name.startswith("aos-2.0.0/devhost") for name in names)


def test_the_wheel_installs_into_a_clean_environment(built: Path, tmp_path: Path) -> None:
    wheel = next(built.glob("*.whl"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*command, "--target", str(tmp_path), str(wheel)],
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    program = "import aos; print(aos.__version__, aos.__file__)"
    said = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.split()
    assert said == ["2.0.0", str(tmp_path / "aos" / "__init__.py")]


def test_every_extra_is_in_the_environment_that_make_test_makes_and_all_of_aos_loads() -> None:
    wanted, seen = [Requirement("aos[full]")], set()
    while wanted:
        requirement = wanted.pop()
        if (key := str(requirement)) in seen:
            continue
        seen.add(key)
        assert requirement.specifier.contains(version(requirement.name), prereleases=True), key
        if requirement.name == "aos":
            for text in requires("aos") or []:
                needed = Requirement(text)
                extras = requirement.extras or {""}
                if needed.marker is None or any(
                    needed.marker.evaluate({"extra": extra}) for extra in extras
                ):
                    wanted.append(needed)
    assert len(seen) > 10
    program = (
        "import importlib, pkgutil, aos\n"
        "for module in pkgutil.walk_packages(aos.__path__, 'aos.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
    )
    subprocess.run([sys.executable, "-I", "-c", program], check=True, timeout=120)


def test_aos_names_every_package_that_it_imports() -> None:
    """What comes only with another package may leave with it."""
    named = _named_packages()
    owners = packages_distributions()
    unnamed = {
        (name, str(path.relative_to(ROOT)))
        for path in (ROOT / "aos").rglob("*.py")
        for name in _imported_modules(path)
        if not _owned_by(name, owners) & named
    }
    assert unnamed == set()


def test_the_version_is_said_once_and_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    said = re.search(r'^__version__ = "(.+)"$', (ROOT / "aos/version.py").read_text(), re.M)
    assert said is not None
    assert said[1] == project["version"] == "2.0.0"


@pytest.mark.parametrize("app", APPS)
def test_an_app_sees_entry_points_and_bootstrap_only(app: str) -> None:
    ours = [
        name
        for name in _imported(ROOT / app)
        if name.split(".")[0] in {"aos", "devhost", "benchmarks", "tests"}
    ]
    assert ours
    allowed = ("aos.entrypoints", "aos.bootstrap")
    assert [name for name in ours if not name.startswith(allowed)] == []


@pytest.mark.parametrize("folder", ["aos", "devhost"])
def test_modules_and_functions_keep_their_bounds(folder: str) -> None:
    too_long = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text("utf-8")
        if text.count("\n") > LONGEST_MODULE:
            too_long.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    too_long.append(f"{path.relative_to(ROOT)}:{node.name}: {lines} lines")
    assert too_long == []


def test_no_module_is_named_for_nothing() -> None:
    empty_names = {"utils", "helpers", "common", "base", "manager"}
    modules = [*(ROOT / "aos").rglob("*.py"), *(ROOT / "devhost").rglob("*.py")]
    assert [path for path in modules if path.stem in empty_names] == []


def test_secrets_and_data_of_a_laptop_are_never_committed_or_published() -> None:
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {"local.settings.json", ".aos/", ".venv/", "node_modules/"} <= set(ignored)
    left_behind = (ROOT / ".funcignore").read_text().split()
    assert {"local.settings.json", ".*", "tests", "devhost", "infra"} <= set(left_behind)
    for needed in ("function_app.py", "host.json", "requirements.txt", "aos"):
        assert needed not in left_behind


def test_continuous_integration_runs_make_test() -> None:
    run = ROOT / ".ci" / "run"
    assert run.stat().st_mode & 0o111
    text = run.read_text()
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in text
    assert text.rstrip().endswith("make test")


def test_make_help_names_every_target_of_the_readme() -> None:
    done = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    targets = set(re.findall(r"^  make (\S+)", done.stdout, re.MULTILINE))
    wanted = "help run demo test check lint types sim e2e bench lock clean"
    assert set(wanted.split()) <= targets


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _named_packages() -> set[str]:
    """The packages that pyproject.toml names for the apps and the client."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for name in SHIPPED for line in extras[name])]
    names = {canonicalize_name(Requirement(line).name) for line in lines}
    return names | {part for part, whole in PARTS.items() if whole in names}


def _imported_modules(path: Path) -> Iterator[str]:
    """The full names of the modules of others that a file imports, wherever in it."""
    ours = {"aos", *sys.stdlib_module_names, *(file.stem for file in path.parent.glob("*.py"))}
    return (name for name in _imported(path) if name.partition(".")[0] not in ours)


def _owned_by(module: str, owners: Mapping[str, list[str]]) -> set[str]:
    """The packages that may hold a module; of the namespace `azure`, those named like it."""
    top = module.partition(".")[0]
    names = {canonicalize_name(name) for name in owners.get(top, [])}
    if top != "azure":
        return names
    return {name for name in names if f"{module}.".startswith(f"{name.replace('-', '.')}.")}
