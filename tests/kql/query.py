"""Runs a query of the part of KQL that this repository uses. Entry point: `run`.

It knows `union`, `where`, `extend`, `project`, `summarize`, `order by`, `take` and `render`. What
it does not know, and each column that a table lacks, is a KqlError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from tests.kql.values import AGGREGATES, FUNCTIONS, OPERATORS, UNITS, Dynamic

Row: TypeAlias = dict[str, Any]
Table: TypeAlias = list[Row]
Value: TypeAlias = Callable[[Row], Any]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<span>\d+(?:\.\d+)?[dhms]\b) | (?P<number>\d+(?:\.\d+)?)
      | (?P<text>"[^"]*"|'[^']*')
      | (?P<word>!?[A-Za-z_]\w*)
      | (?P<mark>==|!=|>=|<=|[-+*/<>=(),.|])
    )""",
    re.VERBOSE,
)
_LEVELS = (
    ("or",),
    ("and",),
    (
        *("==", "!=", ">=", "<=", ">", "<", "in"),
        *("contains", "startswith", "endswith", "!contains", "!startswith", "!endswith"),
    ),
    ("+", "-"),
    ("*", "/"),
)
_NO_ROW: Row = {}


class KqlError(Exception):
    """A query that Azure would refuse, or that is not known here."""


def run(query: str, tables: Mapping[str, Table]) -> Table:
    """Return the rows that the query answers. Raises KqlError."""
    plain = "\n".join(line for line in query.splitlines() if not line.lstrip().startswith("//"))
    source, *steps = [_Reader(part) for part in _split_pipes(plain)]
    rows = _read_source(source, tables)
    for step in steps:
        rows = _STEPS.get(step.take(), _refuse)(step, rows)
        step.end()
    return rows


def _split_pipes(query: str) -> list[str]:
    return re.split(r"\|(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", query)


class _Reader:
    """The tokens of a part of a query, and a parser of its expressions."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at, text = 0, text.strip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise KqlError(f"not understood: {text[at : at + 40]!r}")
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        self._at = 0

    def peek(self, ahead: int = 0) -> str:
        """Return the next token, or an empty text."""
        at = self._at + ahead
        return self._tokens[at][1] if at < len(self._tokens) else ""

    def take(self) -> str:
        """Return the next token and go on."""
        found = self.peek()
        self._at += 1
        return found

    def accept(self, token: str) -> bool:
        """Take the token if it is the next."""
        if self.peek() != token:
            return False
        self._at += 1
        return True

    def expect(self, token: str) -> None:
        """Take the token. Raises KqlError if another one is next."""
        if not self.accept(token):
            raise KqlError(f"expected {token!r}, not {self.peek()!r}")

    def end(self) -> None:
        """Raise KqlError if anything is left."""
        if self.peek():
            raise KqlError(f"not understood: {self.peek()!r}")

    def named(self) -> tuple[str, str]:
        """Take `name =`, if it is next: the name, and the text of what follows for a column
        without one."""
        if self.peek(1) == "=":
            name = self.take()
            self.expect("=")
            return name, name
        return "", self._name_of_expression()

    def expression(self, level: int = 0) -> Value:
        """Parse an expression."""
        if level == len(_LEVELS):
            return self._primary()
        left = self.expression(level + 1)
        while self.peek() in _LEVELS[level]:
            name = self.take()
            right = self._list() if name == "in" else self.expression(level + 1)
            left = _apply(OPERATORS[name], left, right)
        return left

    def _list(self) -> Value:
        self.expect("(")
        parts = self.arguments()
        return lambda row: [part(row) for part in parts]

    def arguments(self) -> list[Value]:
        """Parse arguments up to the closing parenthesis."""
        found: list[Value] = []
        while not self.accept(")"):
            found.append(self.expression())
            if self.peek() != ")":
                self.expect(",")
        return found

    def _primary(self) -> Value:
        if self._at >= len(self._tokens):
            raise KqlError("an expression is missing")
        kind, text = self._tokens[self._at]
        self._at += 1
        match kind:
            case "number":
                number = float(text) if "." in text else int(text)
                return lambda _: number
            case "span":
                span = float(text[:-1]) * UNITS[text[-1]]
                return lambda _: span
            case "text":
                return lambda _: text[1:-1]
            case "word":
                return self._word(text)
        if text == "(":
            inner = self.expression()
            self.expect(")")
            return inner
        raise KqlError(f"not understood: {text!r}")

    def _word(self, word: str) -> Value:
        if word in ("true", "false"):
            return lambda _: word == "true"
        if self.accept("("):
            if word not in FUNCTIONS:
                raise KqlError(f"the function {word!r} is not known here")
            return _call(FUNCTIONS[word], self.arguments())
        value = _column(word)
        while self.accept("."):
            value = _property(value, self.take())
        return value

    def _name_of_expression(self) -> str:
        """The name that KQL gives a column: of the last property, or of the aggregate."""
        word = self.peek()
        if self.peek(1) != "(":
            return word
        if word in AGGREGATES:
            inner = self.peek(2)
            return f"{word}_{'' if inner == ')' else inner}"
        at = 2
        while self.peek(at + 1) == ".":
            at += 2
        inner = self.peek(at)
        return f"{self.peek(2)}_{inner}" if at > 2 else inner


def _apply(how: Callable[[Any, Any], Any], left: Value, right: Value) -> Value:
    return lambda row: how(left(row), right(row))


def _call(function: Callable[..., Any], arguments: Sequence[Value]) -> Value:
    return lambda row: function(*(argument(row) for argument in arguments))


def _column(name: str) -> Value:
    def read(row: Row) -> Any:
        if name not in row:
            raise KqlError(f"no column {name!r} among {sorted(row)}")
        return row[name]

    return read


def _property(value: Value, name: str) -> Value:
    def read(row: Row) -> Any:
        found = value(row)
        if not isinstance(found, Dynamic):
            raise KqlError(f"{name!r} is asked of a value that is not dynamic")
        return found.get(name)

    return read


def _read_source(reader: _Reader, tables: Mapping[str, Table]) -> Table:
    first = reader.take()
    if first != "union":
        reader.end()
        return list(_find_table(first, tables))
    column = ""
    while reader.peek(1) == "=":
        option = reader.take()
        reader.expect("=")
        value = reader.take()
        column = value if option == "withsource" else column
    rows: Table = []
    while True:
        name = reader.take()
        rows += [{**row, column: name} if column else row for row in _find_table(name, tables)]
        if not reader.accept(","):
            reader.end()
            return rows


def _find_table(name: str, tables: Mapping[str, Table]) -> Table:
    if name not in tables:
        raise KqlError(f"no table {name!r}")
    return tables[name]


def _where(reader: _Reader, rows: Table) -> Table:
    test = reader.expression()
    return [row for row in rows if test(row)]


def _extend(reader: _Reader, rows: Table) -> Table:
    return [row | _compute(columns, row) for columns in (_read_columns(reader),) for row in rows]


def _project(reader: _Reader, rows: Table) -> Table:
    columns = _read_columns(reader)
    return [_compute(columns, row) for row in rows]


def _read_columns(reader: _Reader) -> dict[str, Value]:
    columns: dict[str, Value] = {}
    while True:
        _, name = reader.named()
        columns[name] = reader.expression()
        if not reader.accept(","):
            return columns


def _compute(columns: Mapping[str, Value], row: Row) -> Row:
    return {name: value(row) for name, value in columns.items()}


def _summarize(reader: _Reader, rows: Table) -> Table:
    aggregates: dict[str, Callable[[Table], Any]] = {}
    while reader.peek() not in ("by", ""):
        _, name = reader.named()
        aggregates[name] = _read_aggregate(reader)
        if not reader.accept(","):
            break
    keys = _read_columns(reader) if reader.accept("by") else {}
    groups: dict[tuple[Any, ...], tuple[Row, Table]] = {}
    if not keys:
        groups[()] = ({}, [])
    for row in rows:
        key = _compute(keys, row)
        groups.setdefault(tuple(key.values()), (key, []))[1].append(row)
    return [
        key | {name: aggregate(group) for name, aggregate in aggregates.items()}
        for key, group in groups.values()
    ]


def _read_aggregate(reader: _Reader) -> Callable[[Table], Any]:
    name = reader.take()
    if name not in AGGREGATES:
        raise KqlError(f"the aggregate {name!r} is not known here")
    reader.expect("(")
    arguments = reader.arguments()
    function = AGGREGATES[name]
    if name == "count":
        return len
    if name == "percentile":
        value, percent = arguments
        return lambda rows: function([value(row) for row in rows], percent(_NO_ROW))
    return lambda rows: function(*([value(row) for row in rows] for value in arguments))


def _order(reader: _Reader, rows: Table) -> Table:
    reader.expect("by")
    columns: list[tuple[Value, bool]] = []
    while True:
        value = reader.expression()
        columns.append((value, not reader.accept("asc")))
        reader.accept("desc")
        if not reader.accept(","):
            break
    for value, down in reversed(columns):
        rows = sorted(rows, key=value, reverse=down)
    return rows


def _take(reader: _Reader, rows: Table) -> Table:
    return rows[: int(reader.take())]


def _render(reader: _Reader, rows: Table) -> Table:
    reader.take()
    return rows


def _refuse(reader: _Reader, rows: Table) -> Table:
    raise KqlError(f"an operator before {reader.peek()!r} is not known here")


_STEPS: Mapping[str, Callable[[_Reader, Table], Table]] = {
    "where": _where,
    "extend": _extend,
    "project": _project,
    "summarize": _summarize,
    "order": _order,
    "take": _take,
    "render": _render,
}
