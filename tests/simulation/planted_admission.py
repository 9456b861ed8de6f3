"""Would the simulation notice? Bugs about conversations that take one run at a time, and about
daily budgets."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from aos.adapters.memory import MemorySpendingStore
from aos.domain.budgets import LARGEST_BUDGET, Budget, DaySpending
from aos.domain.runs.run import AdmittedRequest
from aos.errors import ErrorInfo, TransientError
from aos.ports.slots import Slot
from aos.services.admission import busy
from aos.services.admission.busy import Turnstile
from aos.services.execution.turn_budget import OpenTurn, TurnBudgets


def busy_by_the_head_alone() -> contextlib.AbstractContextManager[Any]:
    """Main looks at the head only, which realm writes when it can."""

    async def enter(self: Turnstile, request: AdmittedRequest) -> None:
        return None

    return patch.object(Turnstile, "enter", enter)


def slot_never_free() -> contextlib.AbstractContextManager[Any]:
    """A slot whose admission died is kept for ever."""
    real = Turnstile._is_free

    async def is_free(self: Turnstile, slot: Slot, run_id: str) -> bool:
        return await self._requests.find(slot.run_id) is not None and await real(self, slot, run_id)

    return patch.object(Turnstile, "_is_free", is_free)


def slot_free_at_once() -> contextlib.AbstractContextManager[Any]:
    """A slot whose run has no request row yet is taken for one whose admission died."""
    return patch.object(busy, "UNUSED", busy.UNUSED * 0)


def turn_counted_twice() -> contextlib.AbstractContextManager[Any]:
    """A write without an answer is repeated without a look at what it did."""
    real = DaySpending.close_turn

    def close_turn(self: DaySpending, *turn: str, repeated: bool, **more: Any) -> DaySpending:
        return real(self, *turn, repeated=False, **more)

    return patch.object(DaySpending, "close_turn", close_turn)


def spending_without_etag() -> contextlib.AbstractContextManager[Any]:
    """Two instances of realm overwrite each other's sums."""
    real = MemorySpendingStore._write

    def write(
        self: MemorySpendingStore, key: tuple[str, str], spending: DaySpending, etag: str | None
    ) -> str:
        kept = self._tables.spending.get(key)
        return real(self, key, spending, None if kept is None else kept.etag)

    return patch.object(MemorySpendingStore, "_write", write)


def budget_at_admission_only() -> contextlib.AbstractContextManager[Any]:
    """Realm counts and does not look at the limit."""
    real = TurnBudgets.open

    async def opened(
        self: TurnBudgets, run_id: str, budgets: tuple[Budget, ...]
    ) -> OpenTurn | ErrorInfo:
        wide = tuple(replace(budget, tokens=LARGEST_BUDGET) for budget in budgets)
        return await real(self, run_id, wide)

    return patch.object(TurnBudgets, "open", opened)


def tokens_forgotten() -> contextlib.AbstractContextManager[Any]:
    """Realm forgets the tokens of a turn whose budget could not be written at once."""
    real = TurnBudgets.close

    async def close(self: TurnBudgets, turn: OpenTurn, *, tokens: int, lost: bool) -> None:
        try:
            await self._spending.read(turn.run_id, turn.day)
        except TransientError:
            tokens = 0
        await real(self, turn, tokens=tokens, lost=lost)

    return patch.object(TurnBudgets, "close", close)


PLANTED_IN_ADMISSION: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
    "busy_by_the_head_alone": busy_by_the_head_alone,
    "slot_never_free": slot_never_free,
    "slot_free_at_once": slot_free_at_once,
    "turn_counted_twice": turn_counted_twice,
    "spending_without_etag": spending_without_etag,
    "budget_at_admission_only": budget_at_admission_only,
    "tokens_forgotten": tokens_forgotten,
}
