"""Are tokens of an agent with a daily budget counted once, and does the budget hold?

The model counts what it answers. The rows of the budget hold the same sum, unless realm died (or a
run was cancelled) between a question and its answer: then the rows say that turns are lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aos.domain.budgets import DaySpending
from aos.ports.spending import StoredSpending

if TYPE_CHECKING:
    from tests.simulation.world import World

AGENT = "thrifty"
CAP = 40


class Budgets:
    """Watches the spending of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rows: dict[tuple[str, str], StoredSpending] = {}

    def written(self, operation: str, account: str) -> None:
        """A row was written: no turn begins when the budget is spent."""
        if operation != "spending.write":
            return
        for key, row in self._world.tables.spending.items():
            before = self._rows.get(key, StoredSpending()).spending
            begun = _turns(row.spending) - _turns(before)
            if begun and before.tokens >= CAP:
                self._world.checks.fail(f"{begun} began with {before.tokens} tokens spent")
            self._rows[key] = row

    def refused(self, run_id: str, code: str) -> None:
        """A run was refused: if for its budget, then that is spent."""
        if code == "budget_spent" and not self.is_spent():
            self._world.checks.fail(f"{run_id} was refused, and its budget was not spent")

    def is_spent(self) -> bool:
        """Whether the budget of some day is spent."""
        return any(row.spending.tokens >= CAP for row in self._world.tables.spending.values())

    def verdict(self) -> None:
        """What the model counted is what the rows say, and what they say is missing."""
        if not self._world.scenario.has("budget"):
            return
        mine = {ask.question for ask in self._world.asks.values() if ask.agent_id == AGENT}
        asked = [asked for asked in self._world.oracle.asked if asked.question in mine]
        counted = sum(one.tokens for one in asked)
        rows = [row.spending for row in self._world.tables.spending.values()]
        spent = sum(row.tokens for row in rows)
        lost = sum(row.lost_turns + len(row.open_turns) for row in rows)
        ended = self._world.checks.ended.values()
        runs = sum(run.usage.total_tokens for run in ended if run.agent_id == AGENT)
        if spent > counted or (spent < counted and not lost):
            self._world.checks.fail(
                f"{spent} tokens were spent, the model counted {counted}; {lost} turns are lost"
            )
        if runs > spent and not lost:  # an answer may be saved by who lost its turn to another
            self._world.checks.fail(f"the runs used {runs} tokens, and {spent} were spent")


def _turns(spending: DaySpending) -> set[tuple[str, str]]:
    return set(spending.open_turns.items())
