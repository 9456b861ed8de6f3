"""Checks an uploaded card and reports its problems. Entry point: `assess_card`.

The check covers JSON, types and fields, the file's name, and the rules of the card's kind under the
operator's policy. Pydantic is imported when the first card is checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aos.domain.cards.agent_card import (
    agent_card_from_dict,
    list_event_types,
    list_grants,
    list_models,
    list_references,
)
from aos.domain.cards.assessment import MAX_PROBLEMS, Assessment, CardProblem, find_nearest
from aos.domain.cards.effects import find_effect_warnings
from aos.domain.cards.identity import ID_RULE, MAX_CARD_BYTES, CardKind, digest_of, is_card_id
from aos.domain.cards.notify_rules import find_notify_problems
from aos.domain.cards.operator_rules import find_server_problems, find_server_warnings
from aos.domain.cards.policy import CardPolicy
from aos.domain.json_reader import ROOT, JsonTextError, parse_json

MAX_TEXT = 300
"""The longest path, message or hint of a reported problem, in characters."""


def assess_card(
    body: bytes, *, kind: CardKind, card_id: str, policy: CardPolicy
) -> tuple[Assessment, dict[str, Any] | None]:
    """Check one card; return the assessment, and the card's JSON object if it may go live.

    `card_id` is the id in the file's name.
    """
    digest = digest_of(body)
    raw, problems = _read(body)
    if raw is not None:
        problems = _find_problems(raw, kind, card_id, policy)
    elif not is_card_id(card_id):
        problems = [*_find_name_problems(None, kind, card_id), *problems]
    if problems or raw is None:
        return Assessment(digest=digest, errors=_cut_problems(problems)), None
    is_server = kind is CardKind.MCP_SERVER
    assessment = Assessment(
        digest=digest,
        enabled=raw.get("enabled", True),
        ttl_days=None if is_server else agent_card_from_dict(raw).memory.ttl_days,
        purpose="" if is_server else raw["purpose"],
        warnings=_cut_problems(
            [
                *(find_server_warnings(raw, policy) if is_server else ()),
                *find_effect_warnings(raw, kind),
            ]
        ),
        references=() if is_server else list_references(raw),
        grants=() if is_server else list_grants(raw),
        has_schedules=bool(raw.get("wake", {}).get("schedules")),
        event_types=list_event_types(raw),
    )
    return assessment, raw


def assess_oversized(size: int) -> Assessment:
    """Return the assessment of a card that is too large to be read. `size` is in bytes."""
    problem = CardProblem(
        path=ROOT,
        message=f"the card has {size:,} bytes, the limit is {MAX_CARD_BYTES:,}",
        hint=f"make it {MAX_CARD_BYTES:,} bytes or smaller",
    )
    return Assessment(digest=None, errors=(problem,))


def _cut_problems(problems: Sequence[CardProblem]) -> tuple[CardProblem, ...]:
    return tuple(
        CardProblem(path=_cut(p.path), message=_cut(p.message), hint=_cut(p.hint))
        for p in problems[:MAX_PROBLEMS]
    )


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def _read(body: bytes) -> tuple[dict[str, Any] | None, list[CardProblem]]:
    if len(body) > MAX_CARD_BYTES:
        return None, list(assess_oversized(len(body)).errors)
    try:
        value = parse_json(body, max_bytes=MAX_CARD_BYTES)
    except JsonTextError as error:
        return None, [CardProblem(path=error.path, message=error.message, hint=error.hint)]
    if not isinstance(value, dict):
        hint = 'write an object: {"…": …}'
        return None, [CardProblem(path=ROOT, message="the card is not a JSON object", hint=hint)]
    return value, []


def _find_problems(
    raw: dict[str, Any], kind: CardKind, card_id: str, policy: CardPolicy
) -> list[CardProblem]:
    from pydantic import ValidationError

    from aos.domain.cards.error_texts import describe_errors
    from aos.domain.cards.schema import get_card_model

    names = _find_name_problems(raw.get(kind.id_field), kind, card_id)
    try:
        get_card_model(kind).model_validate(raw)
    except ValidationError as error:
        return [*names, *describe_errors(error, raw, kind)]
    match kind:
        case CardKind.AGENT:
            rules = [
                *_find_limit_problems(raw, policy),
                *_find_model_problems(raw, policy),
                *find_notify_problems(raw.get("notify"), policy),
            ]
        case CardKind.MCP_SERVER:
            rules = find_server_problems(raw, policy)
    return [*names, *rules]


def _find_name_problems(claimed: Any, kind: CardKind, card_id: str) -> list[CardProblem]:
    """Check that the file's name holds a valid id and that the card states the same id."""
    name = kind.blob_name(card_id)
    if not is_card_id(card_id):
        message = f"the file name {name!r} does not hold a valid id"
        hint = f"name the file {kind.value}/<id>.json; an id is {ID_RULE}"
        return [CardProblem(path=kind.id_field, message=message, hint=hint)]
    if not isinstance(claimed, str) or claimed == card_id:
        return []
    message = f"{kind.id_field} is {claimed[:63]!r}, but the file name is {name!r}"
    hint = f'write "{kind.id_field}": "{card_id}"'
    if is_card_id(claimed):
        hint += f", or name the file {kind.blob_name(claimed)}"
    return [CardProblem(path=kind.id_field, message=message, hint=hint)]


def _find_limit_problems(raw: Mapping[str, Any], policy: CardPolicy) -> list[CardProblem]:
    limits = raw.get("limits", {})
    return [
        CardProblem(
            path=f"limits.{name}",
            message=f"{limits[name]} is more than the operator's limit of {bound}",
            hint=f"write a number from 1 to {bound}",
        )
        for name, bound in policy.bounds.by_name().items()
        if limits.get(name, 1) > bound
    ]


def _find_model_problems(raw: Mapping[str, Any], policy: CardPolicy) -> list[CardProblem]:
    if policy.allowed_models is None:
        return []
    is_list = isinstance(raw.get("model"), list)
    return [
        _explain_model(model, policy.allowed_models, path=f"model[{i}]" if is_list else "model")
        for i, model in enumerate(list_models(raw))
        if model not in policy.allowed_models
    ]


def _explain_model(model: str, allowed: frozenset[str], *, path: str) -> CardProblem:
    near = find_nearest(model, allowed, cutoff=0.0)
    message = f"the model {model!r} is not in AOS_MODELS"
    if near is not None:
        message += f"; the nearest there is {near!r}"
    names = ", ".join(sorted(allowed)) or "nothing"
    hint = f"leave model out, or write one of: {names}"
    return CardProblem(path=path, message=message, hint=hint)
