"""The table of `python -m benchmarks peers`, of figures that were made for it."""

import hashlib
from pathlib import Path

import pytest

from benchmarks.figures import Report
from benchmarks.peers.environment import FOLDER, REQUIREMENTS, prepare_environment
from benchmarks.peers.measure import Found
from benchmarks.peers.table import ROWS, say_table
from devhost.lock import LOCKS


def _find(**figures: dict[str, float]) -> dict[str, Found]:
    """Every figure is 10, unless it is given by side."""
    found = {}
    for side in ("AOS", "DBOS", "floor"):
        found[side] = Found()
        for _, name, _ in ROWS:
            for offset in (-1.0, 0.0, 1.0):
                found[side].add(name, figures.get(side, {}).get(name, 10.0) + offset)
    return found


def test_the_table_has_ratios_and_says_which_goals_are_missed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = Report()
    aos = {"one p50": 10.9, "one p95": 11.1, "8 rate": 15.0, "32 rate": 19.0, "cpu ours": 14.5}
    say_table(report, _find(AOS=aos))
    said = capsys.readouterr().out.splitlines()
    lines = {line[2:50].strip(): " ".join(line[50:].split()) for line in said}
    assert lines["one client, p50 ms"] == "10.9 10.0 10.0 1.09 x <= 1.1 x: yes"
    assert lines["8 clients, turns/s"] == "15.0 10.0 10.0 1.50 x >= 1.5 x: yes"
    assert lines["8 clients, p95 ms"] == "10.0 10.0 10.0 1.00 x"
    assert lines["Azurite"] == "10.0"
    assert report.missed == [
        "one client, p95 ms: 11.1 (1.11 x), wanted <= 1.1 x",
        "ours: 14.5, wanted <= 14",
        "32 clients, 200 ms model, turns/s: 19 (1.90 x), wanted >= 2 x",
    ]


def test_an_environment_that_has_the_locked_packages_is_used_as_it_is(tmp_path: Path) -> None:
    lock, folder = tmp_path / REQUIREMENTS, tmp_path / FOLDER
    lock.parent.mkdir(parents=True)
    folder.mkdir(parents=True)
    lock.write_bytes(b"dbos==3.4.0\n")
    (folder / "installed").write_text(hashlib.sha256(lock.read_bytes()).hexdigest())
    said: list[str] = []
    python = prepare_environment(tmp_path, said.append)
    assert (python.parent.parent, said) == (folder, [])


def test_the_peers_are_locked_with_everything_else() -> None:
    assert REQUIREMENTS in [lock.path for lock in LOCKS]
