"""The sums of docs/COST.md are computed again from the committed snapshots."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.infra.bicep_cli import ENVIRONMENTS, committed
from tests.infra.inventory import Inventory
from tests.infra.operations.commands import ROOT

MONTH_SECONDS = 730 * 3600
SHORTEST_EXECUTION_SECONDS = 1
INSTANCE_GIGABYTES = 2
FREE_GIGABYTE_SECONDS = 100_000
PAGE = (ROOT / "docs" / "COST.md").read_text("utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Executions a month that nobody asked for."""

    ticks: int
    tests: int

    @property
    def row(self) -> str:
        """As the page's table has it."""
        ticks, tests = _billed(self.ticks), _billed(self.tests)
        cells = (self.ticks, ticks, self.tests, tests, ticks + tests)
        return " | ".join(f"{cell:,}" for cell in cells)


def _billed(executions: int) -> int:
    """GB-s on Flex Consumption, where an execution counts a second at least."""
    return executions * SHORTEST_EXECUTION_SECONDS * INSTANCE_GIGABYTES


def _idle(here: Inventory) -> Idle:
    settings = {**here.settings("main"), **here.settings("mcp")}
    every = {
        name.removeprefix("AOS_").removesuffix("_TIMER_SECONDS"): int(it)
        for name, it in settings.items()
        if name.endswith("_TIMER_SECONDS")
    }
    shared = (("CATALOG",), ("MENDER", "WAKE", "CLEAN"), ("LISTING",))
    assert sorted(every) == sorted(name for names in shared for name in names)
    timers = [min(every[name] for name in names) for names in shared]
    probes = [it["properties"] for it in here.of("Microsoft.Insights/webtests").values()]
    return Idle(
        ticks=sum(MONTH_SECONDS // period for period in timers),
        tests=sum(
            len(probe["Locations"]) * MONTH_SECONDS // probe["Frequency"] for probe in probes
        ),
    )


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_an_idle_environment_executes_is_on_the_page(environment: str) -> None:
    idle = _idle(Inventory(committed(environment)))
    listed = re.search(r"^\| ([^|]*`" + environment + r"`[^|]*) \| (.*) \|$", PAGE, re.MULTILINE)
    assert listed is not None
    assert listed[2] == idle.row


def test_an_idle_dev_environment_stays_within_the_free_grant() -> None:
    idle = _idle(Inventory(committed("dev")))
    assert _billed(idle.ticks) + _billed(idle.tests) < FREE_GIGABYTE_SECONDS


def test_timers_of_prod_on_flex_consumption_would_be_twice_the_free_grant() -> None:
    idle = _idle(Inventory(committed("prod")))
    assert _billed(idle.ticks) == 210_240 > 2.1 * FREE_GIGABYTE_SECONDS
    assert _billed(idle.tests) == 157_680


def test_the_page_names_the_figures_that_it_reckons_with() -> None:
    for text in ("at least 1,000 ms", "2 GB", "100,000 GB-s", "730 hours"):
        assert text in PAGE
