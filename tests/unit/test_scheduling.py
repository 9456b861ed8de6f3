"""The order in which the processes of a test run get files."""

from __future__ import annotations

from pathlib import Path

from tests.scheduling import SECONDS, WAITING, choose

ROOT = Path(__file__).parents[2]
SHORT, LONG = "tests/unit/test_a.py", "tests/unit/hostile/test_patterns.py"
FILES = {SHORT: dict.fromkeys("abc", False), LONG: {"a": False}, "tests/e2e/test_x.py": {}}


def test_a_process_gets_files_of_its_own_kind_first_and_the_longest_first() -> None:
    assert choose(FILES, waits=True) == "tests/e2e/test_x.py"
    assert choose(FILES, waits=False) == LONG
    assert choose({SHORT: FILES[SHORT], "tests/unit/test_b.py": {"a": False}}, waits=False) == SHORT


def test_a_process_without_files_of_its_own_kind_takes_the_longest_of_the_others() -> None:
    assert choose({SHORT: FILES[SHORT], LONG: FILES[LONG]}, waits=True) == LONG


def test_a_process_that_computes_starts_no_laptop_of_e2e_while_there_is_something_else() -> None:
    waiting = {"tests/e2e/test_kills.py": {}, "tests/contract/test_job_queue.py": {}}
    assert choose(waiting, waits=False) == "tests/contract/test_job_queue.py"
    assert choose(waiting, waits=True) == "tests/e2e/test_kills.py"


def test_every_file_that_is_known_to_be_long_or_to_wait_exists() -> None:
    assert [name for name in (*SECONDS, *WAITING) if not (ROOT / name).exists()] == []
