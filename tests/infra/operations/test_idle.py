"""The calls of an idle system, counted again and held against docs/COST.md."""

from __future__ import annotations

import re

from aos.entrypoints import timers
from benchmarks import idle
from tests.infra.operations.commands import ROOT
from tests.infra.operations.measuring import measured


def test_an_idle_system_asks_what_the_page_of_costs_says_and_sends_nothing() -> None:
    found = measured("-m", "benchmarks.idle", "--seconds", "20")
    documented, days = table_of_the_page()
    assert found["bus"] == documented.pop("bus messages") == 0
    ticks = {call: count for call, count in found["per_tick"].items() if count >= 0.5}
    assert ticks.keys() == documented.keys()
    for call, count in ticks.items():
        # A tick more may fall into the window, and a busy machine leaves some out.
        assert 0.4 * documented[call] <= count < documented[call] + 0.75, call
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
