"""Does the Service Bus stand alone, and does each of its layers know only what it may?"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BUS, AMQP = ROOT / "devhost" / "servicebus", ROOT / "devhost" / "amqp"


def imports(path: Path) -> set[str]:
    """Every module that a file names in an import, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def offences(paths: list[Path], *, allowed: tuple[str, ...]) -> list[str]:
    """Imports that are neither of the standard library nor allowed."""
    assert paths
    return [
        f"{path.relative_to(ROOT)}: {name}"
        for path in paths
        for name in imports(path)
        if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith(allowed)
    ]


def test_the_codec_needs_the_standard_library_alone() -> None:
    assert offences(sorted(AMQP.rglob("*.py")), allowed=("devhost.amqp.",)) == []


def test_the_service_bus_needs_the_codec_alone() -> None:
    allowed = ("devhost.amqp.", "devhost.servicebus.")
    assert offences(sorted(BUS.rglob("*.py")), allowed=allowed) == []


@pytest.mark.parametrize(
    ("part", "unknown"),
    [
        ("entities/*.py", ("asyncio", "sqlite3", "devhost.amqp.frames", "devhost.amqp.perf")),
        ("filters/*.py", ("asyncio", "sqlite3", "devhost.amqp.frames", "devhost.amqp.perf")),
        ("store.py", ("asyncio", "devhost.amqp")),
        ("group_commit.py", ("asyncio", "sqlite3", "devhost.amqp")),
        ("connection.py", ("sqlite3", "devhost.servicebus.store", "devhost.servicebus.entities")),
        ("*bound.py", ("sqlite3", "devhost.servicebus.store")),
    ],
)
def test_no_rule_knows_a_frame_and_no_frame_knows_the_database(
    part: str, unknown: tuple[str, ...]
) -> None:
    paths = sorted(BUS.glob(part))
    assert paths
    assert [name for path in paths for name in imports(path) if name.startswith(unknown)] == []
