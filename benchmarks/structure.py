"""Counts how a checkout is built: `python -m benchmarks.structure [--root PATH]`. Entry point:
`main`.

It reads the text of any checkout, so that two can be compared. It runs the checkout's apps, in
their own process, only to count the functions that a request passes. Import circles are counted
twice: with the imports below TYPE_CHECKING, and without.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.source_tree import Module, SourceTree, find_circles, is_below

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("aos", "devhost", "infra")
READ = (*PACKAGES, "benchmarks", "examples", "mcp_app", "realm_app", "tests")
CODEC_METHODS = frozenset(
    f"{way}_{form}"
    for way in ("to", "from")
    for form in ("body", "dict", "entity", "fields", "json", "row", "wire")
)
SHORT_LINES = 60
PROBE_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """The figures of one checkout."""

    wired: dict[str, list[str]]
    """The modules that construct each service: of the product, of aos.testing, of the simulation.
    A service that another service constructs for itself is not counted."""
    unit_wired: dict[str, int]
    """How many modules of the unit tests construct each service, to test it alone."""
    codecs: list[str]
    """The hand-written codecs of aos: methods that turn a value into JSON or back."""
    codec_lines: int
    circles: list[list[str]]
    circles_with_types: list[list[str]]
    lone: dict[str, list[str]]
    """By package: the modules under 60 lines that one module imports."""
    lines: dict[str, int]


def count_source(root: Path) -> Structure:
    """Count the text of a checkout."""
    tree = SourceTree.read(root, READ)
    product = SourceTree(
        root, {name: it for name, it in tree.modules.items() if not is_below(name, "tests")}
    )
    codecs = list(_find_codecs(tree))
    services = _find_services(tree)
    wiring = [
        *(it for it in product.modules.values() if not is_below(it.name, "aos.services")),
        *tree.below("tests.simulation"),
    ]
    return Structure(
        wired=_find_constructors(services, wiring),
        unit_wired={
            name: len(places)
            for name, places in _find_constructors(services, tree.below("tests.unit")).items()
        },
        codecs=[name for name, _ in codecs],
        codec_lines=sum(lines for _, lines in codecs),
        circles=_find_circles(product, for_types=False),
        circles_with_types=_find_circles(product, for_types=True),
        lone={package: find_lone_modules(product, package) for package in PACKAGES},
        lines={package: sum(it.lines for it in tree.below(package)) for package in PACKAGES},
    )


def count_passed_functions(root: Path) -> dict[str, Any]:
    """The functions and files that a warm `GET /api/runs/{run_id}` passes.

    Raises RuntimeError when the apps of the checkout do not run in memory.
    """
    probe = Path(__file__).with_name("passed_functions.py")
    done = subprocess.run(
        [sys.executable, "-P", str(probe), str(root)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=PROBE_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the apps of {root} do not run in memory:\n{done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def find_lone_modules(tree: SourceTree, package: str) -> list[str]:
    """The modules of a package under 60 lines that exactly one module imports."""
    importers = tree.importers()
    return [
        f"{it.name} ({it.lines} lines, imported by {next(iter(importers[it.name]))})"
        for it in tree.below(package)
        if it.path.name not in {"__init__.py", "__main__.py"}
        if it.lines < SHORT_LINES and len(importers[it.name]) == 1
    ]


def _find_circles(tree: SourceTree, *, for_types: bool) -> list[list[str]]:
    edges = tree.edges(for_types=for_types)
    return find_circles({name: edges[name] for name in edges if is_below(name, *PACKAGES)})


def _find_services(tree: SourceTree) -> list[str]:
    """The public classes below aos.services that have a constructor."""
    return sorted(
        node.name
        for module in tree.below("aos.services")
        for node in module.tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        if any(isinstance(it, ast.FunctionDef) and it.name == "__init__" for it in node.body)
    )


def _find_constructors(services: list[str], modules: list[Module]) -> dict[str, list[str]]:
    """Which of the modules construct each service; none for a service that none constructs."""
    found = {
        service: [it.name for it in modules if _is_constructed(service, it)] for service in services
    }
    return {service: names for service, names in found.items() if names}


def _is_constructed(name: str, module: Module) -> bool:
    if name not in module.text:  # to parse all of the tests takes seconds
        return False
    imported = any(it.name == name and is_below(it.module, "aos.services") for it in module.imports)
    return imported and any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
        for node in ast.walk(module.tree)
    )


def _find_codecs(tree: SourceTree) -> Iterator[tuple[str, int]]:
    """Name and lines of each method of aos that is named like a codec's."""
    for module in tree.below("aos"):
        for owner in ast.walk(module.tree):
            if not isinstance(owner, ast.ClassDef):
                continue
            for it in owner.body:
                if isinstance(it, ast.FunctionDef) and it.name in CODEC_METHODS:
                    lines = (it.end_lineno or it.lineno) - it.lineno + 1
                    yield f"{module.name}.{owner.name}.{it.name}", lines


def _print(found: Structure, passed: dict[str, Any], *, names: bool) -> None:
    most = max((len(places) for places in found.wired.values()), default=0)
    _print_section(f"wiring: a service is wired in at most {most} modules")
    for name, places in sorted(found.wired.items(), key=lambda it: (-len(it[1]), it[0])):
        unit = found.unit_wired.get(name, 0)
        print(f"  {len(places)}  {name} ({unit} unit test modules): {', '.join(places)}")
    _print_section(f"hand-written codecs: {len(found.codecs)} methods, {found.codec_lines} lines")
    _list(found.codecs, wanted=names)
    _print_section(f"import circles at module level, without TYPE_CHECKING: {len(found.circles)}")
    _list([" <-> ".join(it) for it in found.circles])
    _print_section(
        f"import circles at module level, with TYPE_CHECKING: {len(found.circles_with_types)}"
    )
    _list([" <-> ".join(it) for it in found.circles_with_types])
    for package, modules in found.lone.items():
        _print_section(
            f"modules of {package} under {SHORT_LINES} lines with one importer: {len(modules)}"
        )
        _list(modules, wanted=names)
    _print_section("lines of Python")
    _list([f"{package} {lines}" for package, lines in found.lines.items()])
    _print_section(
        f"a warm GET /api/runs/{{run_id}} passes {passed['functions']} functions in"
        f" {passed['files']} files of aos; without adapters"
        f" {passed['functions_without_adapters']} in {passed['files_without_adapters']}"
    )
    _list(passed["names"], wanted=names)


def _print_section(title: str) -> None:
    print(f"\n{title}")


def _list(lines: list[str], *, wanted: bool = True) -> None:
    for line in lines if wanted else []:
        print(f"  {line}")


def main() -> int:
    """Print the figures of a checkout."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.structure", description="Count how a checkout is built."
    )
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="another checkout")
    parser.add_argument("--names", action="store_true", help="list what was counted, too")
    parser.add_argument("--json", action="store_true", help="all figures as JSON, on the last line")
    options = parser.parse_args()
    root = options.root.resolve()
    found, passed = count_source(root), count_passed_functions(root)
    _print(found, passed, names=options.names)
    if options.json:
        print(json.dumps({**asdict(found), "get_run": passed}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
