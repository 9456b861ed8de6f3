"""Compares tables of ARCHITECTURE and the glossary with the code: every file, class, function and
constant in them exists, and routes are described in the words of the route table."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.trigger_table import ROUTES

ARCHITECTURE = ROOT / "docs" / "ARCHITECTURE.md"
GLOSSARY = ROOT / "docs" / "glossary.md"


def cells(page: Path) -> Iterator[list[str]]:
    """The rows below the mark of a page, by cells, without the heads."""
    text = page.read_text("utf-8").split("<!-- where -->")[1].split("<!-- /where -->")[0]
    for line in text.splitlines():
        row = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if "`" in line:
            yield row


def quoted(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def is_path(text: str) -> bool:
    """Whether a quoted text is a file or a folder."""
    return "/" in text or text.endswith((".py", ".json"))


def defined_in(path: Path) -> set[str]:
    """The classes, functions and constants of a file or a folder, and `Class.method`."""
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return {name for file in files if file.suffix == ".py" for name in _names_of(file)}


def _names_of(file: Path) -> Iterator[str]:
    for node in ast.parse(file.read_text("utf-8")).body:
        for name in _bound(node):
            yield name
            if isinstance(node, ast.ClassDef):
                yield from (f"{name}.{inner}" for part in node.body for inner in _bound(part))


def _bound(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


@pytest.mark.parametrize("page", [ARCHITECTURE, GLOSSARY], ids=lambda page: page.name)
def test_every_file_and_every_name_of_the_tables_exists(page: Path) -> None:
    rows = list(cells(page))
    assert len(rows) > 8
    missing = []
    for row in rows:
        words = [word for cell in row for word in quoted(cell)]
        paths = [ROOT / word for word in words if is_path(word)]
        missing += [str(path) for path in paths if not path.exists()]
        known = {name for path in paths if path.exists() for name in defined_in(path)}
        missing += [
            f"{row[0]}: {word}" for word in words if not is_path(word) and word not in known
        ]
    assert missing == []


def test_the_trigger_table_describes_routes_in_the_words_of_the_route_table() -> None:
    table = ARCHITECTURE.read_text("utf-8").split("<!-- triggers -->")[1].split("<!-- /triggers")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if " | HTTP | " in line]
    said = {(app, name.strip("`")): does.rstrip(" |") for app, name, _, _, does in rows}
    routes = {(app, name): route for app, table in ROUTES.items() for name, route in table.items()}
    assert said == {key: route.summary for key, route in routes.items()}
