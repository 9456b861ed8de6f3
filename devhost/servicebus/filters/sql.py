"""Decides by a SQL expression whether a message matches. Entry point: `SqlFilter.matches`.

The SQL of Service Bus rules: comparisons, AND, OR, NOT, IS [NOT] NULL, [NOT] LIKE, [NOT] IN,
EXISTS, arithmetic, parentheses; `sys.` and `user.` names; `newid()`, `property(name)`. A grammar
rule is a method of `ExpressionParser` that returns a function of the message; NULL is None and
means "unknown", as in SQL. An expression that is unknown does not match.
"""

from __future__ import annotations

import operator
import re
import uuid
from collections.abc import Callable
from typing import Any

from devhost.servicebus.errors import ARGUMENT_ERROR, BusError
from devhost.servicebus.filters import logic
from devhost.servicebus.filters.logic import Evaluator, View
from devhost.servicebus.filters.tokens import Token, tokenize
from devhost.servicebus.filters.view import SYSTEM_NAMES, Seen

MAX_LENGTH = 1_024
MAX_NESTING = 32


class SqlFilter:
    """A SQL expression; parsed at once, so that a wrong one is refused. Raises BusError."""

    __slots__ = ("_evaluate", "expression")

    def __init__(self, expression: str) -> None:
        if len(expression) > MAX_LENGTH:
            raise BusError(ARGUMENT_ERROR, f"A filter has at most {MAX_LENGTH} characters.")
        self.expression = expression
        self._evaluate = ExpressionParser(expression).parse()

    def matches(self, seen: Seen) -> bool:
        """Whether the expression is true, neither false nor unknown."""
        return self._evaluate(View(seen)) is True


_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": logic.divide,
    "%": logic.remainder,
}


class ExpressionParser:
    """One method for each grammar rule, from the loosest binding to the tightest."""

    kind = "filter"
    """What a refusal calls the expression."""

    def __init__(self, expression: str) -> None:
        self._tokens = tokenize(expression)
        self._position = 0
        self._depth = 0

    def parse(self) -> Evaluator:
        evaluate = self._either()
        if self._token.kind != "end":
            raise self._error("the end")
        return evaluate

    def _either(self) -> Evaluator:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise BusError(ARGUMENT_ERROR, f"A filter nests at most {MAX_NESTING} deep.")
        left = self._both()
        while self._take("OR"):
            left = logic.or_(left, self._both())
        self._depth -= 1
        return left

    def _both(self) -> Evaluator:
        left = self._negation()
        while self._take("AND"):
            left = logic.and_(left, self._negation())
        return left

    def _negation(self) -> Evaluator:
        negations = 0
        while self._take("NOT"):
            negations += 1
        evaluate = self._predicate()
        return logic.not_(evaluate) if negations % 2 else evaluate

    def _predicate(self) -> Evaluator:
        left = self._sum()
        if self._token.text in _COMPARISONS and self._token.kind == "symbol":
            return logic.compare(_COMPARISONS[self._next().text], left, self._sum())
        if self._take("IS"):
            wanted = not self._take("NOT")
            self._expect("NULL")
            return lambda view: (left(view) is None) is wanted
        negated = self._take("NOT")
        if self._take("LIKE"):
            evaluate = self._like(left)
        elif self._take("IN"):
            evaluate = self._in(left)
        elif negated:
            raise self._error("LIKE or IN")
        else:
            return left
        return logic.not_(evaluate) if negated else evaluate

    def _like(self, left: Evaluator) -> Evaluator:
        pattern = self._text()
        escape = self._text() if self._take("ESCAPE") else None
        match = re.compile(logic.compile_like(pattern, escape), re.DOTALL).fullmatch

        def evaluate(view: View) -> bool | None:
            value = left(view)
            return match(value) is not None if isinstance(value, str) else None

        return evaluate

    def _in(self, left: Evaluator) -> Evaluator:
        self._expect("(")
        choices = [self._sum()]
        while self._take(","):
            choices.append(self._sum())
        self._expect(")")
        found = logic.compare(operator.eq, left, choices[0])
        for choice in choices[1:]:
            found = logic.or_(found, logic.compare(operator.eq, left, choice))
        return found

    def _sum(self) -> Evaluator:
        left = self._product()
        while self._token.kind == "symbol" and self._token.text in "+-":
            left = logic.calculate(_ARITHMETIC[self._next().text], left, self._product())
        return left

    def _product(self) -> Evaluator:
        left = self._sign()
        while self._token.kind == "symbol" and self._token.text in "*/%":
            left = logic.calculate(_ARITHMETIC[self._next().text], left, self._sign())
        return left

    def _sign(self) -> Evaluator:
        negations = 0
        while self._token.text in ("-", "+") and self._token.kind == "symbol":
            negations += self._next().text == "-"
        operand = self._operand()
        return logic.calculate(operator.sub, lambda view: 0, operand) if negations % 2 else operand

    def _operand(self) -> Evaluator:
        if self._take("("):
            inner = self._group()
            self._expect(")")
            return inner
        if self._take("EXISTS"):
            self._expect("(")
            name = self._name()
            self._expect(")")
            return lambda view: name(view) is not None
        if self._token.kind == "literal":
            value = self._next().value
            return lambda view: value
        return self._name()

    def _group(self) -> Evaluator:
        """Parse what may be in parentheses."""
        return self._either()

    def _function(self, name: str) -> Evaluator | None:
        """A call of newid() or property(name), if there is one."""
        if name not in ("newid", "property", "p") or not self._take("("):
            return None
        if name == "newid":
            self._expect(")")
            return lambda view: uuid.uuid4()
        argument = self._group()
        self._expect(")")

        def evaluate(view: View) -> Any:
            found = argument(view)
            return view.own(found.casefold()) if isinstance(found, str) else None

        return evaluate

    def _name(self) -> Evaluator:
        if self._token.kind != "name":
            raise self._error("a name or a value")
        scope, name = "user", self._next().value.casefold()
        function = self._function(name)
        if function is not None:
            return function
        if name in ("sys", "user") and self._take("."):
            scope, name = name, self._name_part()
        if scope == "user":
            return lambda view: view.own(name)
        if name not in SYSTEM_NAMES:
            raise BusError(ARGUMENT_ERROR, f"There is no system property {name!r}.")
        field = SYSTEM_NAMES[name]
        return lambda view: view.system(field)

    def _name_part(self) -> str:
        if self._token.kind not in ("name", "keyword"):
            raise self._error("a name")
        token = self._next()
        return str(token.value).casefold()

    def _text(self) -> str:
        if self._token.kind != "literal" or not isinstance(self._token.value, str):
            raise self._error("a string")
        return str(self._next().value)

    @property
    def _token(self) -> Token:
        return self._tokens[self._position]

    def _next(self) -> Token:
        token = self._token
        self._position += 1
        return token

    def _take(self, text: str) -> bool:
        if self._token.kind in ("keyword", "symbol") and self._token.text == text:
            self._position += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._error(text)

    def _error(self, wanted: str) -> BusError:
        token = self._token
        found = token.text or "the end"
        return BusError(
            ARGUMENT_ERROR,
            f"The {self.kind} is wrong at character {token.position}: "
            f"{wanted} expected, {found} found.",
        )
