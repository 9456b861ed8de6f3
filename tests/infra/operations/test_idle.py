"""The calls of an idle system are counted again and compared with docs/COST.md."""

from __future__ import annotations

import re

import pytest

from aos.environment import Environment
from aos.timer_settings import TimerSettings
from benchmarks import idle
from tests.infra.bicep_cli import committed
from tests.infra.inventory import Inventory
from tests.infra.operations.commands import ROOT
from tests.infra.operations.measuring import measured

SECONDS = 30
PAGE = (ROOT / "docs" / "COST.md").read_text("utf-8")


def test_an_idle_system_asks_what_the_page_of_costs_says_and_sends_nothing() -> None:
    found = measured("-m", "benchmarks.idle", "--seconds", str(SECONDS))
    documented, _ = table_of_the_page()
    assert found["bus"] == documented.pop("bus messages") == 0
    ticks = {call: count for call, count in found["per_tick"].items() if count >= 0.4}
    assert ticks.keys() == documented.keys()
    for call, count in ticks.items():
        # The window holds at most one tick more than periods; a busy machine leaves some out.
        periods = SECONDS / idle.find_laptop_period(call)
        most = documented[call] * (periods + 1) / periods
        assert 0.4 * documented[call] <= count <= most + 0.01, call


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_the_calls_of_a_day_follow_from_the_ticks(environment: str) -> None:
    documented, days = table_of_the_page()
    documented.pop("bus messages")
    said = {call: days[environment][call] for call in documented}
    assert idle.compute_per_day(documented, environment) == said
    together = sum(said.values()) - said["bus requests"]
    line = f"{environment}: {together:,} storage calls a day, {together * 730 // 24:,} a month"
    assert line in PAGE


def test_the_periods_that_costs_are_reckoned_with_are_those_of_the_timers() -> None:
    laptop = TimerSettings.read(Environment({}), development=True)
    assert laptop.catalog_seconds == laptop.listing_seconds == idle.LAPTOP_PERIOD_SECONDS["catalog"]
    assert laptop.mender_seconds == idle.LAPTOP_PERIOD_SECONDS["mender"]
    assert laptop.clean_seconds == idle.LAPTOP_PERIOD_SECONDS["clean"]
    azure = TimerSettings.read(Environment({}), development=False)
    for environment, periods in idle.AZURE_PERIOD_SECONDS.items():
        here = Inventory(committed(environment))
        main, mcp = here.settings("main"), here.settings("mcp")
        assert float(main["AOS_CATALOG_TIMER_SECONDS"]) == periods["catalog"]
        assert float(mcp["AOS_LISTING_TIMER_SECONDS"]) == periods["catalog"]
        assert float(main["AOS_MENDER_TIMER_SECONDS"]) == periods["mender"]
        assert float(main["AOS_WAKE_TIMER_SECONDS"]) == periods["wake"]
        assert float(main["AOS_CLEAN_TIMER_SECONDS"]) == azure.clean_seconds == periods["clean"]


def table_of_the_page() -> tuple[dict[str, float], dict[str, dict[str, int]]]:
    """The table of calls in COST.md: a tick, and a day in dev and in prod."""
    rows = re.findall(
        r"^\| ((?:blob|table|queue) \S+ \S+|bus messages|bus requests)"
        r" \| (\d+) \| ([\d,]+) \| ([\d,]+) \|$",
        PAGE.replace("`", ""),
        re.M,
    )
    assert rows
    ticks = {call: float(tick) for call, tick, *_ in rows}
    dev = {call: int(day.replace(",", "")) for call, _, day, _ in rows}
    prod = {call: int(day.replace(",", "")) for call, _, _, day in rows}
    return ticks, {"dev": dev, "prod": prod}
