"""docs/OPERATIONS.md explains every log line that the product can write."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "OPERATIONS.md").read_text("utf-8")
WRITERS = frozenset({"log", "_log", "custom_event"})
"""Methods whose first argument is an event's name."""


def test_every_event_that_is_logged_is_explained_and_no_other() -> None:
    table = PAGE.split("<!-- events -->")[1].split("<!-- /events -->")[0]
    first_cells = " ".join(re.findall(r"^\| (`.+?) \|", table, re.M))
    explained = set(re.findall(r"`(\w+)`", first_cells))
    logged = {name for path in (ROOT / "aos").rglob("*.py") for name in _events(path)}
    assert explained == logged


def _events(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            first = node.args[0] if node.args else None
            if node.func.attr in WRITERS and isinstance(first, ast.Constant):
                yield str(first.value)
