"""Holds that no modules import each other in a circle, not even for their types alone."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("aos", "devhost", "infra")


def read_modules(root: Path) -> dict[str, Path]:
    """Every module below the packages, by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in (root / package).rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def read_imports(path: Path, modules: dict[str, Path]) -> set[str]:
    """The modules that a module imports, wherever in it: at its top, for types, in a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else str(node.module) for name in names}
    return found & modules.keys()


def find_circle(root: Path) -> list[str]:
    """One circle of imports, empty when there is none."""
    modules = read_modules(root)
    graph = {name: read_imports(path, modules) - {name} for name, path in modules.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert len(read_modules(ROOT)) > 300
    assert find_circle(ROOT) == []


@pytest.mark.parametrize(
    "back",
    [
        "from aos.one import first",
        "import aos.one",
        "if TYPE_CHECKING:\n    from aos import one",
        "def later():\n    from aos.one import first",
    ],
)
def test_a_circle_is_found_however_it_is_written(tmp_path: Path, back: str) -> None:
    (tmp_path / "aos").mkdir()
    (tmp_path / "aos" / "one.py").write_text("from aos.two import second\n", "utf-8")
    (tmp_path / "aos" / "two.py").write_text(f"{back}\n", "utf-8")
    assert set(find_circle(tmp_path)) == {"aos.one", "aos.two"}
