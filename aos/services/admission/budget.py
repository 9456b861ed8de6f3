"""Refuses runs whose daily budget is spent. Entry point: `AdmissionBudgets.check`."""

from __future__ import annotations

from aos.domain.budgets import find_day, list_budgets
from aos.errors import Refused
from aos.ports.spending import SpendingStore
from aos.ports.system import Clock


class AdmissionBudgets:
    """Main's rule for agents and owners with a daily budget."""

    def __init__(self, *, spending: SpendingStore, clock: Clock, owner_tokens: int | None) -> None:
        self._spending = spending
        self._clock = clock
        self._owner_tokens = owner_tokens

    async def check(self, *, agent_id: str, agent_tokens: int | None, owner: str) -> None:
        """Raise Refused `budget_spent` when nothing is left; one read for each budget."""
        budgets = list_budgets(
            agent_id=agent_id,
            agent_tokens=agent_tokens,
            owner=owner,
            owner_tokens=self._owner_tokens,
        )
        now = self._clock.now()
        for budget in budgets:
            stored = await self._spending.read(budget.account, find_day(now))
            error = budget.find_error(stored.spending.tokens, now=now)
            if error is not None:
                raise Refused(error.code, error.message, **error.details)
