"""Reads what an operator lets callers spend, and what models cost. Entry point:
`SpendingSettings.read`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from aos.domain.budgets import LARGEST_BUDGET
from aos.domain.usage import LARGEST_PRICE, ModelPrice, Prices
from aos.environment import Environment
from aos.errors import ConfigurationError

PRICES = "AOS_MODEL_PRICES"
MOST_PRICES = 500
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_FIELDS = ("input", "cached_input", "output")
_EXAMPLE = '{"currency": "USD", "gpt-5": {"input": "1.25", "output": "10"}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendingSettings:
    """The tokens that one owner may use in a day; None is no limit. The prices of models."""

    owner_tokens_per_day: int | None = None
    prices: Prices = field(default_factory=Prices)

    @classmethod
    def read(cls, env: Environment) -> SpendingSettings:
        """Read the limits and the prices. Raises ConfigurationError."""
        tokens = env.count("AOS_OWNER_TOKENS_PER_DAY", 0, most=LARGEST_BUDGET)
        return cls(owner_tokens_per_day=tokens or None, prices=_read_prices(env.optional(PRICES)))


def _read_prices(text: str | None) -> Prices:
    if text is None:
        return Prices()
    try:
        raw = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{PRICES} is not JSON: {error}; write {_EXAMPLE}") from error
    if not isinstance(raw, dict):
        _refuse("it is not an object")
    currency = raw.pop("currency", None)
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        _refuse("currency is not a code of three letters such as USD")
    if len(raw) > MOST_PRICES:
        _refuse(f"it has {len(raw)} models; {MOST_PRICES} are the most")
    return Prices(
        currency=currency, models={model: _read_price(model, raw[model]) for model in raw}
    )


def _read_price(model: str, raw: Any) -> ModelPrice:
    if not isinstance(raw, dict):
        _refuse(f"the price of {model!r} is not an object with input and output")
    for name in raw:
        if name not in _FIELDS:
            _refuse(f"{name!r} of {model!r} is not known; {', '.join(_FIELDS)} are")
    cached = raw.get("cached_input")
    return ModelPrice(
        input=_read_amount(model, "input", raw.get("input")),
        output=_read_amount(model, "output", raw.get("output")),
        cached_input=None if cached is None else _read_amount(model, "cached_input", cached),
    )


def _read_amount(model: str, name: str, raw: Any) -> Decimal:
    """Return a price per million tokens: a decimal number, as text or as a number."""
    try:
        amount = Decimal(raw) if isinstance(raw, str | Decimal) else None
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite() or not 0 <= amount <= LARGEST_PRICE:
        _refuse(f'{name} of {model!r} is not a price per million tokens such as "2.50"')
    if amount.as_tuple().exponent < -9:  # type: ignore[operator]  # it is finite
        _refuse(f"{name} of {model!r} has more than 9 decimal places")
    return amount


def _refuse(why: str) -> NoReturn:
    raise ConfigurationError(f"{PRICES} is not valid: {why}; write {_EXAMPLE}")
