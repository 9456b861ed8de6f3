"""Changes a message by a rule's SQL action. Entry point: `SqlAction.apply`.

Statements are `SET <property> = <expression>` and `REMOVE <property>`, each working on the result
of those before it; `;` or `,` may stand between them. The expressions are those of filters,
without predicates. A new value takes the type of the one it replaces.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from devhost.amqp.message import Properties
from devhost.servicebus.errors import ARGUMENT_ERROR, ActionError, BusError
from devhost.servicebus.filters.logic import Evaluator, View
from devhost.servicebus.filters.sql import MAX_LENGTH, MAX_NESTING, ExpressionParser
from devhost.servicebus.filters.view import SYSTEM_NAMES, Seen

MAX_STATEMENTS = 32
RULE_NAME = "RuleName"
"""The property in which a message that an action has changed names the rule."""


@dataclass(slots=True, kw_only=True)
class Draft:
    """A message's properties while an action changes them."""

    properties: Properties
    application_properties: dict[Any, Any]


Statement = Callable[[Draft], None]


class SqlAction:
    """SQL statements; parsed at once, so that wrong ones are refused. Raises BusError."""

    __slots__ = ("_statements", "expression")

    def __init__(self, expression: str) -> None:
        if len(expression) > MAX_LENGTH:
            raise BusError(ARGUMENT_ERROR, f"An action has at most {MAX_LENGTH} characters.")
        self.expression = expression
        self._statements = _ActionParser(expression).parse_statements()

    def apply(self, seen: Seen) -> Draft:
        """The properties after all statements. Raises ActionError."""
        draft = Draft(
            properties=seen.properties, application_properties=dict(seen.application_properties)
        )
        for statement in self._statements:
            statement(draft)
        return draft


class _ActionParser(ExpressionParser):
    kind = "action"

    def parse_statements(self) -> list[Statement]:
        statements = [self._statement()]
        while self._take(",") or not self._is_at_end():
            if len(statements) == MAX_STATEMENTS:
                raise BusError(
                    ARGUMENT_ERROR, f"An action has at most {MAX_STATEMENTS} statements."
                )
            statements.append(self._statement())
        return statements

    def _is_at_end(self) -> bool:
        self._take(";")
        return self._token.kind == "end"

    def _statement(self) -> Statement:
        word = self._token.text.upper() if self._token.kind == "name" else ""
        if word not in ("SET", "REMOVE"):
            self._fail("SET or REMOVE")
        self._next()
        scope, name = self._target()
        if word == "REMOVE":
            return _remove_system(name) if scope == "sys" else _remove_own(name)
        self._expect("=")
        value = self._sum()
        return _set_system(name, value) if scope == "sys" else _set_own(name, value)

    def _target(self) -> tuple[str, str]:
        """The scope of a property, and its name: of the message's field if it is the system's."""
        if self._token.kind != "name":
            self._fail("a property")
        scope, name = "user", str(self._next().value)
        if name.casefold() in ("sys", "user") and self._take("."):
            scope = name.casefold()
            if self._token.kind not in ("name", "keyword"):
                self._fail("a name")
            name = str(self._next().value)
        if scope == "user":
            return scope, name
        if name.casefold() not in SYSTEM_NAMES:
            raise BusError(ARGUMENT_ERROR, f"There is no system property {name!r} to change.")
        return scope, SYSTEM_NAMES[name.casefold()]

    def _group(self) -> Evaluator:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise BusError(ARGUMENT_ERROR, f"An action nests at most {MAX_NESTING} deep.")
        inner = self._sum()
        self._depth -= 1
        return inner

    def _operand(self) -> Evaluator:
        if self._take("NULL"):
            return lambda view: None
        if self._token.text == "EXISTS" and self._token.kind == "keyword":
            self._fail("a value")
        return super()._operand()

    def _fail(self, wanted: str) -> NoReturn:
        raise self._error(wanted)


def _remove_own(name: str) -> Statement:
    def remove(draft: Draft) -> None:
        draft.application_properties.pop(_find_key(draft, name), None)

    return remove


def _set_own(name: str, value: Evaluator) -> Statement:
    def change(draft: Draft) -> None:
        key = _find_key(draft, name)
        before = draft.application_properties.get(key)
        draft.application_properties[key] = _convert(name, value(View(draft)), like=before)

    return change


def _remove_system(field: str) -> Statement:
    if field == "message_id":
        raise BusError(ARGUMENT_ERROR, "sys.MessageId cannot be removed: each message has one.")

    def remove(draft: Draft) -> None:
        draft.properties = draft.properties._replace(**{field: None})

    return remove


def _set_system(field: str, value: Evaluator) -> Statement:
    def change(draft: Draft) -> None:
        found = value(View(draft))
        if found is None and field == "message_id":
            raise ActionError("The action sets sys.MessageId to NULL: each message needs an id.")
        changed: dict[str, Any] = {field: None if found is None else _format(found)}
        draft.properties = draft.properties._replace(**changed)

    return change


def _find_key(draft: Draft, name: str) -> Any:
    """The name of the property that differs in case at most, or the name itself."""
    wanted = name.casefold()
    keys = draft.application_properties
    return next((key for key in keys if str(key).casefold() == wanted), name)


def _convert(name: str, value: Any, *, like: Any) -> Any:
    """Convert a value to the type of the one that it replaces. Raises ActionError."""
    if like is None or value is None or type(value) is type(like):
        return value
    try:
        if isinstance(like, bool):
            return _read_truth(value)
        if isinstance(like, str):
            return type(like)(_format(value))
        if isinstance(like, int):
            return type(like)(round(value) if isinstance(value, float) else int(value))
        if isinstance(like, float | uuid.UUID):
            return type(like)(value)
    except (ValueError, TypeError, OverflowError, AttributeError):
        pass
    raise ActionError(f"{value!r} cannot become the {type(like).__name__} that {name!r} is.")


def _read_truth(value: Any) -> bool:
    if isinstance(value, str) and value.casefold() not in ("true", "false"):
        raise ValueError(value)
    return value.casefold() == "true" if isinstance(value, str) else bool(value)


def _format(value: Any) -> str:
    """Format a value as .NET does."""
    return str(value) if not isinstance(value, float) or value % 1 else str(int(value))
