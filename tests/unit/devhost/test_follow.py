"""The logs as `make run` shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from devhost import follow
from devhost.follow import LogFollower, shorten_line


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            '{"event": "run.completed", "timestamp": "t", "level": "INFO", "run_id": "r"}',
            "run.completed run_id=r",
        ),
        ('{"event": "model.retry", "level": "WARNING", "message": "again"}', "WARNING again"),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
        ("{}", "{}"),
        ("x" * 999, "x" * 300),
    ],
)
def test_a_line_is_shown_in_one_line(line: str, shown: str) -> None:
    assert shorten_line(line) == shown


def test_only_whole_new_lines_are_shown(tmp_path: Path) -> None:
    log, said = tmp_path / "main.log", []
    log.write_text("old\n")
    follower = LogFollower({"main": log}, say=said.append)
    with log.open("a") as file:
        file.write("new\nhalf")
    follower.look()
    with log.open("a") as file:
        file.write(" a line\n")
    follower.look()
    assert said == ["main  | new", "main  | half a line"]


def test_a_flood_is_counted_instead_of_shown(tmp_path: Path) -> None:
    log, said = tmp_path / "main.log", []
    follower = LogFollower({"main": log}, say=said.append)
    log.write_text("line\n" * 100)
    follower.look()
    assert len(said) == follow.LINES_PER_LOOK + 1
    assert said[-1] == "main  | … 80 more lines in main.log"


def test_an_event_that_repeats_is_counted_and_errors_beside_it_are_shown(tmp_path: Path) -> None:
    log, said = tmp_path / "main.log", []
    follower = LogFollower({"main": log}, say=said.append)
    nudges = [f'{{"event": "run_nudged", "run_id": "r{n}"}}\n' for n in range(50)]
    log.write_text("".join(nudges) + '{"event": "broken", "level": "error"}\n')
    follower.look()
    assert said == [
        "main  | run_nudged run_id=r0",
        "main  | run_nudged run_id=r1",
        "main  | ERROR broken",
        "main  | … 48 more run_nudged in main.log",
    ]


def test_lines_of_the_level_debug_stay_in_the_file(tmp_path: Path) -> None:
    log, said = tmp_path / "main.log", []
    follower = LogFollower({"main": log}, say=said.append)
    log.write_text('{"event": "a", "level": "debug"}\n{"event": "b", "level": "info"}\n')
    follower.look()
    assert said == ["main  | b"]


def test_a_log_that_grew_too_long_is_cut_and_kept_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "LONGEST_LOG_BYTES", 10)
    log, said = tmp_path / "main.log", []
    follower = LogFollower({"main": log}, say=said.append)
    with log.open("ab", buffering=0) as child:
        child.write(b"a long line of text\n")
        follower.look()
        follower.look()
        child.write(b"next\n")
        follower.look()
    assert log.read_text() == "next\n"
    assert said[-1] == "main  | next"
    assert (tmp_path / "main.log.1").read_text() == "a long line of text\n"
