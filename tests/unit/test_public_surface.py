"""Tests use only public names of the product, so that a change of its inside keeps them green."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
PUBLIC = {
    "_replace": "NamedTuple documents it",
    "_exit": "os documents it",
    "_set_running_loop": "asyncio documents it for those who write an event loop",
}
"""Names that begin with an underscore and are public all the same."""
EXCEPTIONS = {
    "contract/test_telemetry_rows.py": "the rows of AOS are compared with those of the exporter",
    "infra/test_settings.py": "the SDK shows nowhere else which settings it reads",
    "scheduling.py": "pytest-xdist has no public way to choose the next file",
    "simulation/planted.py": "a planted bug breaks the product from within",
    "simulation/planted_admission.py": "a planted bug breaks the product from within",
    "simulation/planted_aging.py": "a planted bug breaks the product from within",
    "simulation/planted_bookkeeping.py": "a planted bug breaks the product from within",
    "simulation/planted_deletions.py": "a planted bug breaks the product from within",
    "simulation/planted_letters.py": "a planted bug breaks the product from within",
    "simulation/planted_pausing.py": "a planted bug breaks the product from within",
    "simulation/planted_tasks.py": "a planted bug breaks the product from within",
    "simulation/planted_tools.py": "a planted bug breaks the product from within",
    "simulation/planted_triggers.py": "a planted bug breaks the product from within",
    "simulation/planted_turns.py": "a planted bug breaks the product from within",
    "simulation/planted_waking.py": "a planted bug breaks the product from within",
    "simulation/planted_watching.py": "a planted bug breaks the product from within",
    "unit/entrypoints/test_drain.py": "no setting says how long a handler that must end may go on",
}
"""Modules that use private names, and why they must."""
PATCHES = {"setattr", "delattr", "getattr", "object", "patch"}


def is_private(name: str) -> bool:
    """Whether a name, or the last part of a dotted one, begins with one underscore."""
    last = name.rpartition(".")[2]
    return last.startswith("_") and not last.startswith("__") and last not in PUBLIC


def private_uses(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines that read, patch or import a private name of another object: line and name."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(attr=name) if is_private(name):
                yield node.lineno, name
            case ast.Call(func=ast.Attribute(attr=called) | ast.Name(id=called)):
                if called in PATCHES:
                    yield from _private_texts(node)
            case ast.ImportFrom(names=names):
                yield from ((node.lineno, it.name) for it in names if is_private(it.name))


def _private_texts(call: ast.Call) -> Iterator[tuple[int, str]]:
    for argument in call.args[:2]:
        match argument:
            case ast.Constant(value=str(text)) if is_private(text):
                yield call.lineno, text


def found_in(path: Path) -> list[tuple[int, str]]:
    """The private uses of a module."""
    return list(private_uses(ast.parse(path.read_text("utf-8"))))


def test_no_test_uses_a_private_name_of_the_product() -> None:
    uses = [
        f"{path.relative_to(TESTS.parent)}:{line}: {name}"
        for path in sorted(TESTS.rglob("*.py"))
        if str(path.relative_to(TESTS)) not in EXCEPTIONS
        for line, name in found_in(path)
    ]
    assert uses == []


def test_every_exception_is_needed() -> None:
    assert [name for name in EXCEPTIONS if not found_in(TESTS / name)] == []


def test_reading_patching_and_importing_are_found() -> None:
    text = """
from aos.a import _hidden
self._own; cls._own; thing.__class__; row._replace(a=1)
thing.part._secret
monkeypatch.setattr(thing, "_send", None)
monkeypatch.setattr("aos.a._Listing", None)
patch.object(Thing, "_end", end)
monkeypatch.setattr(thing, "send", "_value")
"""
    assert sorted(private_uses(ast.parse(text))) == [
        (2, "_hidden"),
        (4, "_secret"),
        (5, "_send"),
        (6, "aos.a._Listing"),
        (7, "_end"),
    ]
