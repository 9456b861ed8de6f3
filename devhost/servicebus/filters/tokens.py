"""Splits SQL of a filter or an action into words and values. Entry point: `tokenize`."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from devhost.servicebus.errors import ARGUMENT_ERROR, BusError

KEYWORDS = frozenset(["AND", "OR", "NOT", "IS", "NULL", "LIKE", "ESCAPE", "IN", "EXISTS"])
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+)"
    r"|(?P<text>'(?:[^']|'')*')"
    r"|(?P<quoted>\[(?:[^\]]|\]\])+\]|\"(?:[^\"]|\"\")+\")"
    r"|(?P<word>[^\W\d]\w*)"
    r"|(?P<symbol><>|!=|<=|>=|[=<>()+\-*/%.,;]))"
)


class Token(NamedTuple):
    """`kind` is literal, name, keyword, symbol or end; keywords are upper case in `text`."""

    kind: str
    text: str
    position: int
    value: Any = None


def tokenize(expression: str) -> list[Token]:
    """The expression's tokens, an `end` last. Raises BusError."""
    tokens, position = [], 0
    expression = expression.rstrip()
    while position < len(expression):
        match = _TOKEN.match(expression, position)
        if match is None:
            raise BusError(
                ARGUMENT_ERROR,
                f"The expression is wrong at character {position}: {expression[position:][:10]!r}.",
            )
        tokens.append(_make_token(match))
        position = match.end()
    return [*tokens, Token("end", "", position)]


def _make_token(match: re.Match[str]) -> Token:
    kind = str(match.lastgroup)
    text, position = match[kind], match.start(kind)
    if kind == "number":
        number = int(text) if text.isdigit() else float(text)
        return Token("literal", text, position, number)
    if kind == "text":
        return Token("literal", text, position, text[1:-1].replace("''", "'"))
    if kind == "quoted":
        close = text[-1]
        return Token("name", text, position, text[1:-1].replace(close * 2, close))
    if kind == "word":
        return _make_word(text, position)
    return Token("symbol", text, position)


def _make_word(text: str, position: int) -> Token:
    upper = text.upper()
    if upper in ("TRUE", "FALSE"):
        return Token("literal", text, position, upper == "TRUE")
    if upper in KEYWORDS:
        return Token("keyword", upper, position, text)
    return Token("name", text, position, text)
