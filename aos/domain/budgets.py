"""Has the rules of daily budgets of tokens. Entry points: `Budget`, `DaySpending`.

A budget is an agent's (`limits.max_tokens_per_day`) or an owner's (`AOS_OWNER_TOKENS_PER_DAY`). A
day is a day in UTC. What was spent on a day is one row: realm enters a turn before it asks the
model, and adds the turn's tokens when the answer is there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from aos.domain.wire_time import to_wire_time
from aos.errors import ErrorInfo

LARGEST_BUDGET = 10**12
MOST_OPEN_TURNS = 400
"""Open turns of a row, each about 80 characters: a property of a row holds 32 Ki characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many tokens an agent or an owner may use in a day."""

    of: Literal["agent", "owner"]
    name: str
    tokens: int

    @property
    def account(self) -> str:
        """The name under which the spending is kept; it has no characters of the owner."""
        if self.of == "agent":
            return self.name
        digest = hashlib.sha256(self.name.encode("utf-8", "surrogatepass")).hexdigest()
        return f"owner:{digest}"

    def find_error(self, spent: int, *, now: datetime) -> ErrorInfo | None:
        """The error of a run when this budget is spent; None when tokens are left."""
        if spent < self.tokens:
            return None
        resets_at = to_wire_time(find_end_of_day(now))
        cap, who_raises = (
            (
                f"limits.max_tokens_per_day of agent {self.name!r}",
                f"an admin raises it in agents/{self.name}.json",
            )
            if self.of == "agent"
            else ("the daily tokens of its owner", "the operator raises AOS_OWNER_TOKENS_PER_DAY")
        )
        return ErrorInfo(
            code="budget_spent",
            message=(
                f"{spent} tokens were used today, and {cap} is {self.tokens}; send the request"
                f" again after {resets_at}, or {who_raises}"
            ),
            details={
                "budget": self.of,
                "spent": spent,
                "limit": self.tokens,
                "resets_at": resets_at,
            },
        )


def list_budgets(
    *, agent_id: str, agent_tokens: int | None, owner: str, owner_tokens: int | None
) -> tuple[Budget, ...]:
    """The budgets that hold for a run; none when neither card nor operator sets one."""
    budgets: list[Budget] = []
    if agent_tokens is not None:
        budgets.append(Budget(of="agent", name=agent_id, tokens=agent_tokens))
    if owner_tokens is not None:
        budgets.append(Budget(of="owner", name=owner, tokens=owner_tokens))
    return tuple(budgets)


def find_day(now: datetime) -> str:
    """The day of a moment, `2026-01-31`, in UTC."""
    return now.astimezone(UTC).date().isoformat()


def find_end_of_day(now: datetime) -> datetime:
    """The next midnight in UTC, when the budgets begin anew."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day + timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaySpending:
    """What was spent of one budget on one day.

    `open_turns` maps the id of a run to the id of its turn that a model is asked for now: at most
    `MOST_OPEN_TURNS`, the oldest first. `lost_turns` counts turns whose answer AOS never got,
    because realm died or the run was cancelled: the endpoint may have counted tokens that are not
    in `tokens`.
    """

    tokens: int = 0
    turns: int = 0
    lost_turns: int = 0
    open_turns: dict[str, str] = field(default_factory=dict)

    def open_turn(self, run_id: str, turn_id: str) -> DaySpending:
        """Enter a turn. A turn of the same run that was never closed is lost.

        Of too many open turns the oldest ones count as lost too, until they are closed.
        """
        before = self.open_turns.get(run_id)
        if before == turn_id:
            return self
        others = [item for item in self.open_turns.items() if item[0] != run_id]
        kept = others[max(0, len(others) + 1 - MOST_OPEN_TURNS) :]
        lost = len(self.open_turns) - len(kept)
        return replace(
            self,
            lost_turns=self.lost_turns + lost,
            open_turns={**dict(kept), run_id: turn_id},
        )

    def close_turn(
        self, run_id: str, turn_id: str, *, tokens: int, lost: bool, repeated: bool
    ) -> DaySpending:
        """Count a turn's tokens; `lost` when an answer is missing.

        `repeated`: an earlier write of this may have taken effect. If the turn is not open any
        more, it has. Otherwise another handler took the run's turn for lost, and it is not.
        """
        is_open = self.open_turns.get(run_id) == turn_id
        if not is_open and repeated:
            return self
        rest = {run: turn for run, turn in self.open_turns.items() if not is_open or run != run_id}
        missing = self.lost_turns + lost - (not is_open)
        return replace(
            self,
            tokens=self.tokens + tokens,
            turns=self.turns + 1,
            lost_turns=max(0, missing),
            open_turns=rest,
        )
