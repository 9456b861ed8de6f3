"""What docs/COST.md and the disaster recovery runbook say was measured, measured again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

from aos.entrypoints import timers
from benchmarks import idle
from tests.infra.operations.commands import ROOT


def measured(*command: str) -> dict[str, Any]:
    """The figures that a program of ours prints on its last line."""
    done = subprocess.run(
        [sys.executable, *command, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def test_a_region_that_is_lost_comes_back_in_another_with_what_was_saved() -> None:
    report = measured("infra/drill.py", "--runs", "3")
    assert report["passed"] is True
    assert (report["runs_found"], report["runs_before_backup"]) == (3, 3)
    assert report["messages_found"] == 4
    assert report["waiting_run"] == "completed"
    assert 0 < report["restore"] < report["rto"]
    assert report["rpo"] > 0


def test_an_idle_system_asks_what_the_page_of_costs_says_and_sends_nothing() -> None:
    found = measured("-m", "benchmarks.idle", "--seconds", "20")
    documented, days = table_of_the_page()
    assert found["bus"] == documented.pop("bus messages") == 0
    ticks = {call: count for call, count in found["per_tick"].items() if count >= 0.5}
    assert ticks.keys() == documented.keys()
    for call, count in ticks.items():
        assert abs(count - documented[call]) < 0.75, call  # a tick more or less in the window
    assert idle.per_day_in_azure(documented) == {call: days[call] for call in documented}
    together = sum(days.values())
    page = (ROOT / "docs" / "COST.md").read_text("utf-8")
    assert f"Together {together:,} storage calls a day" in page
    assert f"{together * 730 // 24:,} a month of 730 hours" in page


def test_the_periods_that_costs_are_reckoned_with_are_those_of_the_timers() -> None:
    assert seconds(timers.ON_A_LAPTOP.catalog) == idle.LAPTOP_PERIOD_SECONDS["catalog"]
    assert seconds(timers.ON_A_LAPTOP.mender) == idle.LAPTOP_PERIOD_SECONDS["mender"]
    assert seconds(timers.IN_AZURE.catalog) == idle.AZURE_PERIOD_SECONDS["catalog"]
    assert seconds(timers.IN_AZURE.mender) == idle.AZURE_PERIOD_SECONDS["mender"]


def table_of_the_page() -> tuple[dict[str, float], dict[str, int]]:
    """The table of calls in COST.md: a tick, and a day in Azure."""
    page = (ROOT / "docs" / "COST.md").read_text("utf-8")
    rows = re.findall(
        r"^\| (blob \S+ \S+|table \S+ \S+|bus messages) \| (\d+) \| ([\d,]+) \|$", page, re.M
    )
    assert rows
    ticks = {call: float(tick) for call, tick, _ in rows}
    return ticks, {call: int(day.replace(",", "")) for call, _, day in rows}


def seconds(schedule: str) -> float:
    """`*/30 * * * * *` → 30, `0 */5 * * * *` → 300."""
    found = re.fullmatch(r"(?:\d+ )?\*/(\d+)((?: \*)+)", schedule)
    assert found is not None
    return float(found[1]) * (1 if found[2].count("*") == 5 else 60)
