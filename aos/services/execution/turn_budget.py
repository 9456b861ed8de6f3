"""Holds runs to their daily budgets, turn by turn. Entry points: `TurnBudgets.open`,
`TurnBudgets.close`.

Each budget has one row a day, which all instances of realm share: a turn is entered in it before
the model is asked, and its tokens are added when the answer is there, before the answer is saved.
Runs without a budget make no call.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from aos.domain.budgets import Budget, DaySpending, find_day
from aos.errors import ErrorInfo, OutcomeUnknown, StaleWrite, TransientError
from aos.ports.spending import SpendingStore, StoredSpending
from aos.ports.system import Clock, Ids

TRIES = 12
DELAY_SECONDS = 0.05
LONGEST_DELAY_SECONDS = 2.0
ACCOUNTS_REMEMBERED = 1024


@dataclass(slots=True)
class _Account:
    """The last known row of a budget's day; None if it is not known."""

    known: StoredSpending | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTurn:
    """A turn that was entered: of which run, in which budgets, on which day."""

    run_id: str
    turn_id: str
    day: str
    budgets: tuple[Budget, ...]


class TurnBudgets:
    """Counts the tokens of turns against daily budgets."""

    def __init__(self, *, spending: SpendingStore, clock: Clock, ids: Ids) -> None:
        self._spending = spending
        self._clock = clock
        self._ids = ids
        self._accounts: OrderedDict[tuple[str, str], _Account] = OrderedDict()

    async def open(self, run_id: str, budgets: tuple[Budget, ...]) -> OpenTurn | ErrorInfo:
        """Enter a turn of the run, or return the error of a budget that is spent.

        Raises TransientError.
        """
        now = self._clock.now()
        turn = OpenTurn(
            run_id=run_id,
            turn_id=self._ids.new_id() if budgets else "",
            day=find_day(now),
            budgets=budgets,
        )
        for place, budget in enumerate(budgets):

            def enter(
                spending: DaySpending, _: bool, budget: Budget = budget
            ) -> DaySpending | ErrorInfo:
                if spending.open_turns.get(run_id) == turn.turn_id:
                    return spending
                error = budget.find_error(spending.tokens, now=now)
                return error or spending.open_turn(run_id, turn.turn_id)

            error = await self._update(budget.account, turn.day, enter)
            if error is not None:
                entered = OpenTurn(
                    run_id=run_id, turn_id=turn.turn_id, day=turn.day, budgets=budgets[:place]
                )
                await self.close(entered, tokens=0, lost=False)
                return error
        return turn

    async def close(self, turn: OpenTurn, *, tokens: int, lost: bool) -> None:
        """Count the turn's tokens; `lost` when an answer of the model is missing.

        Raises TransientError.
        """

        def leave(spending: DaySpending, repeated: bool) -> DaySpending:
            return spending.close_turn(
                turn.run_id, turn.turn_id, tokens=tokens, lost=lost, repeated=repeated
            )

        for budget in turn.budgets:
            await self._update(budget.account, turn.day, leave)

    async def _update(
        self,
        name: str,
        day: str,
        change: Callable[[DaySpending, bool], DaySpending | ErrorInfo],
    ) -> ErrorInfo | None:
        """Change the row; `change` gets it and whether an earlier write may have taken effect."""
        account = self._find_account(name, day)
        repeated = False
        async with account.lock:
            for number in range(TRIES):
                kept = account.known or await self._spending.read(name, day)
                account.known = None  # unknown until the answer arrives
                changed = change(kept.spending, repeated)
                if isinstance(changed, ErrorInfo):
                    return changed
                if changed == kept.spending:
                    account.known = kept
                    return None
                try:
                    etag = await self._spending.write(name, day, changed, etag=kept.etag)
                except (StaleWrite, TransientError) as error:
                    repeated = repeated or isinstance(error, OutcomeUnknown)
                    await self._pause(number)
                    continue
                account.known = StoredSpending(spending=changed, etag=etag)
                return None
        raise TransientError(f"the budget of {name!r} could not be written; it changes too often")

    async def _pause(self, failures: int) -> None:
        ceiling = min(LONGEST_DELAY_SECONDS, DELAY_SECONDS * 2.0**failures)
        await self._clock.sleep(self._ids.jitter() * ceiling)

    def _find_account(self, name: str, day: str) -> _Account:
        account = self._accounts.pop((name, day), None) or _Account()
        self._accounts[name, day] = account
        while len(self._accounts) > ACCOUNTS_REMEMBERED:
            self._accounts.popitem(last=False)
        return account
