"""Checks that each module's docstring says what the module does and names its way in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.module_map import read_summary
from tests.docs.pages import ROOT

MODULES = tuple(
    path
    for package in ("aos", "devhost", "infra")
    for path in sorted((ROOT / package).rglob("*.py"))
)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_docstring_says_what_the_module_does_and_names_its_way_in(path: Path) -> None:
    summary, names = read_summary(path), set(_public_names(path))
    if not summary and not names:
        return
    assert summary, "the module has no docstring"
    assert "?" not in summary, "the summary is a question; write what the module does"
    mentioned = set(re.findall(r"`([A-Za-z_]\w*)", summary))
    assert not names or mentioned & names, f"name one in backticks: {sorted(names)}"


def _public_names(path: Path) -> Iterator[str]:
    """The names that a module defines, or that a package holds."""
    is_package = path.name == "__init__.py"
    if is_package:
        yield from (p.stem for p in path.parent.glob("*.py") if not p.stem.startswith("_"))
        yield from (p.parent.name for p in path.parent.glob("*/__init__.py"))
    for node in ast.parse(path.read_text("utf-8")).body:
        yield from (name for name in _defined(node, is_package) if not name.startswith("_"))


def _defined(node: ast.stmt, is_package: bool) -> list[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [node.name]
        case ast.Assign():
            return [target.id for target in node.targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.ImportFrom():
            return [alias.asname or alias.name for alias in node.names] if is_package else []
        case _:
            return []
