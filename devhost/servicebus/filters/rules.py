"""Holds a subscription's rule, and writes and reads it in AMQP. Entry point: `Rule`.

The descriptors are Service Bus' own; a filter's has one digit less than a rule's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from devhost.amqp.decode import decode_value
from devhost.amqp.encode import encode_value
from devhost.amqp.types import Described, Timestamp, ULong
from devhost.servicebus.errors import ARGUMENT_ERROR, BusError
from devhost.servicebus.filters.actions import SqlAction
from devhost.servicebus.filters.correlation import CorrelationFilter
from devhost.servicebus.filters.sql import SqlFilter
from devhost.servicebus.filters.view import Seen

_RULE, _NO_ACTION, _SQL_ACTION = (ULong(0x13700000004 + n) for n in range(3))
_SQL, _TRUE, _FALSE, _CORRELATION = (ULong(0x1370000006 + n) for n in range(4))
_CORRELATION_FIELDS = (
    "correlation_id",
    "message_id",
    "to",
    "reply_to",
    "subject",
    "group_id",
    "reply_to_group_id",
    "content_type",
)
"""The order of a correlation filter's list; its ninth element are the application properties."""
_REQUEST_FIELDS = {
    "correlation-id": "correlation_id",
    "message-id": "message_id",
    "to": "to",
    "reply-to": "reply_to",
    "label": "subject",
    "session-id": "group_id",
    "reply-to-session-id": "reply_to_group_id",
    "content-type": "content_type",
}


@dataclass(frozen=True, slots=True)
class TrueFilter:
    """Every message."""

    def matches(self, seen: Seen) -> bool:
        """True."""
        return True


@dataclass(frozen=True, slots=True)
class FalseFilter:
    """No message."""

    def matches(self, seen: Seen) -> bool:
        """False."""
        return False


Filter: TypeAlias = TrueFilter | FalseFilter | SqlFilter | CorrelationFilter


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A named filter, and an action that changes the copies of matching messages."""

    name: str
    filter: Filter
    action: SqlAction | None = None
    created_ms: int = 0


DEFAULT_RULE = Rule(name="$Default", filter=TrueFilter())
"""The rule of a subscription that has none of its own."""


def read_rule(name: str, description: Mapping[str, Any], *, created_ms: int) -> Rule:
    """Read the rule of an `add-rule` request. Raises BusError."""
    return Rule(
        name=name,
        filter=_read_filter(description),
        action=_read_action(description.get("sql-rule-action")),
        created_ms=created_ms,
    )


def _read_action(given: Any) -> SqlAction | None:
    expression = given.get("expression") if isinstance(given, dict) else given
    if not expression:
        return None
    if not isinstance(expression, str):
        raise BusError(ARGUMENT_ERROR, "The expression of a rule's action must be a string.")
    return SqlAction(expression)


def _read_filter(description: Mapping[str, Any]) -> Filter:
    sql, correlation = description.get("sql-filter"), description.get("correlation-filter")
    if isinstance(sql, dict) and isinstance(sql.get("expression"), str):
        return SqlFilter(sql["expression"])
    if isinstance(correlation, dict):
        system = {
            name: correlation[key]
            for key, name in _REQUEST_FIELDS.items()
            if correlation.get(key) is not None
        }
        own = correlation.get("properties") or {}
        return CorrelationFilter(system=system, properties=own if isinstance(own, dict) else {})
    if "true-filter" in description or not description:
        return TrueFilter()
    if "false-filter" in description:
        return FalseFilter()
    raise BusError(ARGUMENT_ERROR, "The rule has no filter of a known type.")


def describe_rule(rule: Rule) -> Described:
    """Describe a rule as `enumerate-rules` answers it."""
    return Described(
        _RULE,
        [
            _describe_filter(rule.filter),
            _describe_action(rule.action),
            rule.name,
            Timestamp(rule.created_ms),
        ],
    )


def _describe_action(action: SqlAction | None) -> Described:
    if action is None:
        return Described(_NO_ACTION, [])
    return Described(_SQL_ACTION, [action.expression, None])


def _describe_filter(filter: Filter) -> Described:
    match filter:
        case SqlFilter():
            return Described(_SQL, [filter.expression, None])
        case CorrelationFilter():
            fields = [filter.system.get(name) for name in _CORRELATION_FIELDS]
            return Described(_CORRELATION, [*fields, dict(filter.properties)])
        case FalseFilter():
            return Described(_FALSE, [])
        case TrueFilter():
            return Described(_TRUE, [])


def encode_rules(rules: Sequence[Rule]) -> bytes:
    """Encode rules for the store."""
    return encode_value([describe_rule(rule) for rule in rules])


def decode_rules(data: bytes) -> list[Rule]:
    """Decode what `encode_rules` encoded."""
    described, _ = decode_value(data)
    return [_decode_rule(each.value) for each in described]


def _decode_rule(fields: list[Any]) -> Rule:
    described, changes, name, created = fields
    action = SqlAction(changes.value[0]) if changes.descriptor == _SQL_ACTION else None
    values = described.value
    if described.descriptor == _SQL:
        filter: Filter = SqlFilter(values[0])
    elif described.descriptor == _CORRELATION:
        pairs = zip(_CORRELATION_FIELDS, values[:8], strict=True)
        system = {key: value for key, value in pairs if value is not None}
        filter = CorrelationFilter(system=system, properties=values[8])
    else:
        filter = FalseFilter() if described.descriptor == _FALSE else TrueFilter()
    return Rule(name=name, filter=filter, action=action, created_ms=int(created))


def compute_rules_digest(rules: Sequence[Rule]) -> str:
    """A digest that changes when the rules of Config.json change."""
    return hashlib.sha256(encode_rules(rules)).hexdigest()
