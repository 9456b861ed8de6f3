"""Reads what an operator lets callers spend. Entry point: `SpendingSettings.read`."""

from __future__ import annotations

from dataclasses import dataclass

from aos.domain.budgets import LARGEST_BUDGET
from aos.environment import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendingSettings:
    """The tokens that one owner may use in a day; None is no limit."""

    owner_tokens_per_day: int | None = None

    @classmethod
    def read(cls, env: Environment) -> SpendingSettings:
        """Read the limits. Raises ConfigurationError."""
        tokens = env.count("AOS_OWNER_TOKENS_PER_DAY", 0, most=LARGEST_BUDGET)
        return cls(owner_tokens_per_day=tokens or None)
