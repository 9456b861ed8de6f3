"""Reads the entities, rules and policies of a Config.json. Entry point: `read_config`.

The format is that of Microsoft's Service Bus emulator. Wider ranges than its schema allows are
accepted, and so are `AuthorizationRules` of the namespace, a queue or a topic, which the emulator
does not know. Absent values have the emulator's defaults. Durations are ISO 8601.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devhost.servicebus.entities.intake import IntakeRules
from devhost.servicebus.entities.queue_state import QueueRules
from devhost.servicebus.errors import BusError, ConfigError
from devhost.servicebus.filters.actions import SqlAction
from devhost.servicebus.filters.correlation import CorrelationFilter
from devhost.servicebus.filters.rules import DEFAULT_RULE, Filter, Rule
from devhost.servicebus.filters.sql import SqlFilter
from devhost.servicebus.policies import WELL_KNOWN, Policy, parse_policies

_DURATION = re.compile(
    r"P(?:(?P<days>\d+(?:\.\d+)?)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)
_MS = {"days": 86_400_000, "hours": 3_600_000, "minutes": 60_000, "seconds": 1_000}
_FOREVER_MS = 100 * 365 * 86_400_000
_POLICIES = "AuthorizationRules"
_CORRELATION = {
    "ContentType": "content_type",
    "CorrelationId": "correlation_id",
    "Label": "subject",
    "Subject": "subject",
    "MessageId": "message_id",
    "ReplyTo": "reply_to",
    "ReplyToSessionId": "reply_to_group_id",
    "SessionId": "group_id",
    "To": "to",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueConfig:
    """A queue."""

    name: str
    rules: QueueRules


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionConfig:
    """A subscription; `filters` are its rules."""

    name: str
    rules: QueueRules
    filters: tuple[Rule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicConfig:
    """A topic with its subscriptions."""

    name: str
    intake: IntakeRules
    subscriptions: tuple[SubscriptionConfig, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceConfig:
    """All entities and policies; several namespaces are merged."""

    queues: tuple[QueueConfig, ...] = ()
    topics: tuple[TopicConfig, ...] = ()
    policies: tuple[Policy, ...] = (WELL_KNOWN,)


def read_config(path: Path) -> NamespaceConfig:
    """Read the entities that a Config.json names. Raises ConfigError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    try:
        return parse_config(document)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse_config(document: Any) -> NamespaceConfig:
    """Read the entities from the parsed JSON. Raises ConfigError."""
    namespaces = _read_entries(
        _check_mapping(document, "the file").get("UserConfig", {}), "Namespaces"
    )
    config = NamespaceConfig(
        queues=tuple(
            _read_queue(entry) for space in namespaces for entry in _read_entries(space, "Queues")
        ),
        topics=tuple(
            _read_topic(entry) for space in namespaces for entry in _read_entries(space, "Topics")
        ),
        policies=_read_policies(namespaces),
    )
    names = [queue.name.casefold() for queue in config.queues]
    names += [topic.name.casefold() for topic in config.topics]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"two entities are named {twice!r}")
    return config


def _read_policies(namespaces: list[dict[str, Any]]) -> tuple[Policy, ...]:
    """The namespace's policies, or the well-known one, then those of its entities."""
    named = [space for space in namespaces if space.get(_POLICIES) is not None]
    found = [entry for space in named for entry in _read_entries(space, _POLICIES)]
    policies = parse_policies(found, "") if named else (WELL_KNOWN,)
    for space in namespaces:
        for entry in (*_read_entries(space, "Queues"), *_read_entries(space, "Topics")):
            policies += parse_policies(
                _read_entries(entry, _POLICIES), _read_name(entry).casefold()
            )
    return policies


def _read_queue(entry: dict[str, Any]) -> QueueConfig:
    return QueueConfig(name=_read_name(entry), rules=_read_queue_rules(_read_properties(entry)))


def _read_topic(entry: dict[str, Any]) -> TopicConfig:
    return TopicConfig(
        name=_read_name(entry),
        intake=_read_intake(_read_properties(entry)),
        subscriptions=tuple(
            _read_subscription(each) for each in _read_entries(entry, "Subscriptions")
        ),
    )


def _read_subscription(entry: dict[str, Any]) -> SubscriptionConfig:
    rules = tuple(_read_rule(each) for each in _read_entries(entry, "Rules"))
    return SubscriptionConfig(
        name=_read_name(entry),
        rules=_read_queue_rules(_read_properties(entry)),
        filters=rules or (DEFAULT_RULE,),
    )


def _read_queue_rules(properties: dict[str, Any]) -> QueueRules:
    for name in ("ForwardTo", "ForwardDeadLetteredMessagesTo"):
        if properties.get(name):
            raise ConfigError(f"{name} {properties[name]!r}: forwarding is not supported yet")
    count = properties.get("MaxDeliveryCount", 3)
    if type(count) is not int or count < 1:
        raise ConfigError(f"MaxDeliveryCount {count!r} is not a whole number of at least 1")
    return QueueRules(
        lock_ms=_read_duration(properties, "LockDuration", "PT1M"),
        max_delivery_count=count,
        dead_letter_on_expiry=_read_flag(properties, "DeadLetteringOnMessageExpiration"),
        intake=_read_intake(properties),
    )


def _read_intake(properties: dict[str, Any]) -> IntakeRules:
    ttl_ms = _read_duration(properties, "DefaultMessageTimeToLive", "PT1H")
    detects = _read_flag(properties, "RequiresDuplicateDetection")
    window_ms = _read_duration(properties, "DuplicateDetectionHistoryTimeWindow", "PT20S")
    return IntakeRules(
        requires_session=_read_flag(properties, "RequiresSession"),
        time_to_live_ms=ttl_ms if ttl_ms < _FOREVER_MS else None,
        duplicate_window_ms=window_ms if detects else None,
    )


def _read_rule(entry: dict[str, Any]) -> Rule:
    name, properties = _read_name(entry), _read_properties(entry)
    try:
        return Rule(name=name, filter=_read_filter(properties), action=_read_action(properties))
    except BusError as error:
        raise ConfigError(f"rule {name!r}: {error}") from error


def _read_action(properties: dict[str, Any]) -> SqlAction | None:
    expression = _check_mapping(properties.get("Action") or {}, "Action").get("SqlExpression")
    if expression is None or expression == "":
        return None
    if not isinstance(expression, str):
        raise ConfigError("the SqlExpression of Action is not a text")
    return SqlAction(expression)


def _read_filter(properties: dict[str, Any]) -> Filter:
    kind = properties.get("FilterType", "Sql")
    if kind == "Sql":
        expression = _check_mapping(properties.get("SqlFilter"), "SqlFilter").get("SqlExpression")
        if not isinstance(expression, str):
            raise ConfigError("SqlFilter has no SqlExpression")
        return SqlFilter(expression)
    if kind == "Correlation":
        wanted = _check_mapping(properties.get("CorrelationFilter"), "CorrelationFilter")
        unknown = wanted.keys() - _CORRELATION.keys() - {"Properties"}
        if unknown:
            raise ConfigError(f"CorrelationFilter does not know {min(unknown)!r}")
        system = {_CORRELATION[key]: value for key, value in wanted.items() if key in _CORRELATION}
        own = _check_mapping(wanted.get("Properties") or {}, "Properties")
        return CorrelationFilter(system={k: v for k, v in system.items() if v}, properties=own)
    raise ConfigError(f"FilterType {kind!r} is neither 'Sql' nor 'Correlation'")


def _read_duration(properties: dict[str, Any], name: str, default: str) -> int:
    """Read a duration in milliseconds. Raises ConfigError."""
    text = properties.get(name) or default
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None or not any(match.groups()):
        raise ConfigError(f"{name} {text!r} is not a duration such as PT1M or P14D")
    total = sum(float(value) * _MS[unit] for unit, value in match.groupdict().items() if value)
    if total < 1:
        raise ConfigError(f"{name} {text!r} is too short")
    return round(total)


def _read_flag(properties: dict[str, Any], name: str) -> bool:
    value = properties.get(name, False)
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r}, not true or false")
    return value


def _read_name(entry: dict[str, Any]) -> str:
    name = entry.get("Name")
    if not isinstance(name, str) or not 0 < len(name) <= 260:
        raise ConfigError(f"an entity has the name {name!r}; write 1 to 260 characters")
    return name


def _read_properties(entry: dict[str, Any]) -> dict[str, Any]:
    return _check_mapping(entry.get("Properties") or {}, f"Properties of {entry.get('Name')!r}")


def _read_entries(parent: Any, key: str) -> list[dict[str, Any]]:
    entries = _check_mapping(parent, f"what holds {key}").get(key) or []
    if not isinstance(entries, list):
        raise ConfigError(f"{key} is not a list")
    return [_check_mapping(entry, f"an entry of {key}") for entry in entries]


def _check_mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{what} is not a JSON object")
    return value
