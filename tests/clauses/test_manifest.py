"""The manifest: what each clause of the deployment plan has to show for itself, completely."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLAUSES = ROOT / "docs" / "CLAUSES.md"
MANIFEST = tomllib.loads((Path(__file__).parent / "manifest.toml").read_text("utf-8"))
DONE: dict[str, list[str]] = MANIFEST["done"]
NOT_YET: dict[str, list[str]] = MANIFEST["not_yet"]
CONTRACT_WINS: dict[str, str] = MANIFEST["contract_wins"]
COUNTS = {"S": 203, "R": 16, "C": 26}
"""How many clauses, renames and conflicts the plan has; their numbers run without a gap."""


def ids_of_the_plan() -> list[str]:
    """The ids as docs/CLAUSES.md lists them, one row each."""
    return re.findall(r"^\| ([SRC]-\d+) \|", CLAUSES.read_text("utf-8"), re.MULTILINE)


def test_the_plan_has_every_clause_rename_and_conflict_once() -> None:
    expected = [f"R-{n:02}" for n in range(1, COUNTS["R"] + 1)]
    expected += [f"C-{n:02}" for n in range(1, COUNTS["C"] + 1)]
    expected += [f"S-{n:03}" for n in range(1, COUNTS["S"] + 1)]
    assert ids_of_the_plan() == expected


def test_each_clause_is_either_done_or_not_yet_and_only_once() -> None:
    named = Counter([*DONE, *(clause for clauses in NOT_YET.values() for clause in clauses)])
    assert [clause for clause, times in named.items() if times > 1] == []
    assert sorted(named) == sorted(ids_of_the_plan())


def test_what_is_done_names_what_shows_it() -> None:
    assert [clause for clause, evidence in DONE.items() if not evidence] == []


def test_what_is_not_yet_says_under_which_topic_it_will_be() -> None:
    assert [topic for topic, clauses in NOT_YET.items() if not topic.strip() or not clauses] == []


def test_where_the_contract_wins_the_manifest_says_how() -> None:
    assert [clause for clause in CONTRACT_WINS if clause not in ids_of_the_plan()] == []
    assert [clause for clause, how in CONTRACT_WINS.items() if len(how) < 20] == []


@pytest.mark.parametrize("evidence", sorted({one for many in DONE.values() for one in many}))
def test_every_piece_of_evidence_exists(evidence: str) -> None:
    path, _, test = evidence.partition("::")
    assert (ROOT / path).exists(), f"{path} is named in the manifest and is not there"
    if test:
        assert test in _tests(path), f"{path} holds no {test}"


@cache
def _tests(path: str) -> set[str]:
    """Names of a test file's tests: `test_x`, and `TestY::test_x` for those in classes."""
    found: set[str] = set()
    for node in ast.parse((ROOT / path).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}::{inner.name}"
                for inner in node.body
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return {name for name in found if name.rpartition("::")[2].startswith("test_")}
