"""Checks that the docstring of each package of aos names entry points that exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

PACKAGES = sorted(path.parent for path in (ROOT / "aos").rglob("__init__.py"))
ENTRY_POINTS = re.compile(r"Entry\s+points?:(.*?)(?:\.\s|\.$|\Z)", re.S)
"""Up to the end of the sentence; a dot within backticks is followed by a letter."""


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_package_names_entry_points_that_exist(package: Path) -> None:
    name = ".".join(package.relative_to(ROOT).parts)
    found = ENTRY_POINTS.search(importlib.import_module(name).__doc__ or "")
    assert found, "the docstring has no sentence 'Entry point: ...'"
    named = re.findall(r"`([^`]+)`", found[1])
    assert named, "name a module, class or function in backticks"
    assert [entry for entry in named if not _exists(name, entry)] == []


def _exists(package: str, entry: str) -> bool:
    """Whether a package has this module, or this name in the package or in one of its modules."""
    module, _, attribute = entry.partition(".")
    try:
        holder = importlib.import_module(f"{package}.{module}")
    except ModuleNotFoundError:
        return hasattr(importlib.import_module(package), entry)
    return not attribute or hasattr(holder, attribute)
