"""Checks cards as the tests of their messages do. Entry points: `card`, `check`."""

from __future__ import annotations

from typing import Any

from aos.domain.cards.check import assess_card
from aos.domain.cards.identity import CardKind
from aos.domain.cards.policy import CardPolicy
from aos.domain.cards.schema import get_card_model

POLICY = CardPolicy(allowed_models=frozenset({"smol", "big"}))


def card(more: str = "") -> bytes:
    """A good card of `ceo` with more members."""
    return ('{"agent_id": "ceo", "purpose": "Lead"' + (f", {more}" if more else "") + "}").encode()


def check(body: bytes, *, card_id: str = "ceo", kind: CardKind = CardKind.AGENT) -> list[Any]:
    """What is said about a card, as (path, message, hint)."""
    assessment, raw = assess_card(body, kind=kind, card_id=card_id, policy=POLICY)
    assert (raw is None) == bool(assessment.errors)
    return [(p.path, p.message, p.hint) for p in assessment.errors]


AGENT_FIELDS = sorted(
    field.alias or n for n, field in get_card_model(CardKind.AGENT).model_fields.items()
)
