"""Sums what runs used, and what it cost. Entry points: `UsageRow`, `Prices`, `sum_usage`.

A usage row is the sum of the runs of one agent, owner and model that ended on one day in UTC. Costs
are exact: prices are decimal numbers per million tokens, and nothing is rounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Literal, TypeAlias, assert_never

from aos.domain.runs.run import Run, Usage
from aos.domain.wire_time import to_wire_time

GroupBy: TypeAlias = Literal["agent", "owner", "day", "model"]
LARGEST_PRICE = Decimal(10**6)
_DATED = re.compile(r"(.+)-\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """What the runs of one agent, owner and model used that ended on `day` (`2026-01-31`).

    `owner` and `model` are None in rows of earlier versions, which did not keep them. `model` is
    "" for runs that no model answered.
    """

    agent_id: str
    day: str
    owner: str | None
    model: str | None
    runs: int = 0
    usage: Usage = field(default_factory=Usage)


def find_usage_day(run: Run) -> str:
    """The day on which an ended run is counted."""
    return (to_wire_time(run.ended_at) or "")[:10]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice:
    """What a million tokens of a model cost. `cached_input` None: as much as `input`."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None

    def count(self, usage: Usage) -> Decimal:
        """The cost of tokens. Cached ones are part of the input, reasoning part of the output."""
        cached = min(usage.cached_tokens, usage.input_tokens)
        cached_price = self.input if self.cached_input is None else self.cached_input
        millionths = (
            (usage.input_tokens - cached) * self.input
            + cached * cached_price
            + usage.output_tokens * self.output
        )
        return millionths.scaleb(-6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """The operator's prices by the name of the model; `currency` None without prices."""

    currency: str | None = None
    models: Mapping[str, ModelPrice] = field(default_factory=dict)

    def find(self, model: str) -> ModelPrice | None:
        """The price of a model: of its name, or of its name without a date at the end, under which
        endpoints answer (`gpt-5-2026-01-31` for `gpt-5`)."""
        dated = _DATED.fullmatch(model)
        return self.models.get(model) or (self.models.get(dated[1]) if dated else None)

    def count(self, row: UsageRow) -> Decimal | None:
        """The cost of a row; None if its model has no price."""
        if not row.usage.total_tokens and self.currency is not None:
            return Decimal(0)
        price = self.find(row.model or "")
        return None if price is None else price.count(row.usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSum:
    """The sum of some runs' usage. Cached tokens are part of the input, reasoning of the output."""

    key: Annotated[
        str | None,
        (
            "description",
            "the agent, owner, day or model; null in the total, and where it is not known",
        ),
    ] = None
    runs: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0
    cost: Annotated[
        str | None,
        ("description", "decimal, in `currency`; null if a model of these runs has no price"),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SummedUsage:
    """Usage by a key, in the key's order, with its total."""

    items: tuple[UsageSum, ...]
    total: UsageSum
    unpriced_models: tuple[str, ...]


def sum_usage(rows: Iterable[UsageRow], *, by: GroupBy, prices: Prices) -> SummedUsage:
    """Sum the rows by agent, owner, day or model."""
    kept = list(rows)
    groups: dict[str | None, list[UsageRow]] = {}
    for row in kept:
        groups.setdefault(_find_key(row, by), []).append(row)
    unpriced = {row.model for row in kept if prices.count(row) is None and row.model}
    return SummedUsage(
        items=tuple(
            _sum(key, groups[key], prices) for key in sorted(groups, key=lambda key: key or "")
        ),
        total=_sum(None, kept, prices),
        unpriced_models=tuple(sorted(unpriced)),
    )


def _find_key(row: UsageRow, by: GroupBy) -> str | None:
    match by:
        case "agent":
            return row.agent_id
        case "owner":
            return row.owner or None
        case "day":
            return row.day
        case "model":
            return row.model or None
        case _:
            assert_never(by)


def _sum(key: str | None, rows: list[UsageRow], prices: Prices) -> UsageSum:
    usage = sum((row.usage for row in rows), Usage())
    return UsageSum(
        key=key,
        runs=sum(row.runs for row in rows),
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        total_tokens=usage.total_tokens,
        cost=_add_costs([prices.count(row) for row in rows], prices),
    )


def _add_costs(costs: list[Decimal | None], prices: Prices) -> str | None:
    known = [cost for cost in costs if cost is not None]
    if prices.currency is None or len(known) < len(costs):
        return None
    total = sum(known, Decimal(0))
    text = f"{total:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
