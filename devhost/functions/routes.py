"""Finds the function that serves a method and a path. Entry point: `RouteTable.find`.

Route templates are those of Azure's host (ASP.NET Core): literals without regard to case, `{name}`,
`{name?}`, `{*rest}`, and the constraints int, long, guid, alpha, bool and length. As in the host,
functions are sorted by name and the first that matches path and method serves the request; a
specific template does not win over a general one. If no function takes the method, the answer is
404, not 405. A path may end with one slash. An empty segment (`//`) matches no literal and no
parameter; it is allowed only within a `{*rest}` that has already begun.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from devhost.functions.errors import LoadError
from devhost.functions.indexing import LoadedFunction

_PARAMETER = re.compile(r"\{(\*{0,2})(\w+)(?::([^}?]+))?(\?)?\}")
_ENCODED_SLASH = re.compile("%2f", re.IGNORECASE)
_CONSTRAINTS = {
    "int": r"-?\d{1,10}",
    "long": r"-?\d{1,19}",
    "guid": r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "alpha": r"[A-Za-z]+",
    "bool": r"true|false",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The compiled template of one HTTP function."""

    function: LoadedFunction
    path: str
    methods: frozenset[str] | None
    """None means any method."""
    pattern: re.Pattern[str]

    def can_take(self, method: str) -> bool:
        """Whether a request with this method can match."""
        return self.methods is None or method in self.methods


class RouteTable:
    """Finds the function for a request. It is built once."""

    def __init__(self, functions: Iterable[LoadedFunction], *, prefix: str) -> None:
        in_order = sorted(functions, key=lambda function: make_host_order(function.name))
        self.routes = tuple(_compile(function, prefix) for function in in_order)

    def find(self, method: str, raw_path: str) -> tuple[LoadedFunction, Mapping[str, str]] | None:
        """Return the function and its route parameters for a percent-encoded path."""
        path = _decode_path(raw_path).removeprefix("/").removesuffix("/")
        for route in self.routes:
            if route.can_take(method) and (match := route.pattern.fullmatch(path)):
                given = {key: value for key, value in match.groupdict().items() if value}
                return route.function, given
        return None


def make_host_order(name: str) -> str:
    """Return the key by which the host sorts functions.

    .NET's OrdinalIgnoreCase compares upper-case letters, so `_` comes after every letter and digit.
    """
    return name.upper()


def compile_segment(name: str, segment: str) -> str:
    """Return the expression for one segment. Raises LoadError that names the function `name`."""
    pieces: list[str] = []
    position = 0
    for match in _PARAMETER.finditer(segment):
        pieces.append(re.escape(segment[position : match.start()]))
        pieces.append(f"(?P<{match[2]}>{_compile_constraint(name, match[3])})")
        position = match.end()
    rest = segment[position:]
    if "{" in rest or "}" in rest:
        raise LoadError(name, f"its route segment {segment!r} is malformed", remedy="close the {}")
    return "".join([*pieces, re.escape(rest)])


def _decode_path(raw_path: str) -> str:
    if "%" not in raw_path:
        return raw_path
    return unquote(_ENCODED_SLASH.sub("%252F", raw_path))


def _compile(function: LoadedFunction, prefix: str) -> Route:
    template = str(function.trigger.get("route") or function.name).strip("/")
    path = f"{prefix}/{template}".strip("/")
    methods = function.trigger.get("methods")
    segments = path.split("/")
    pattern = "".join(
        _compile_part(function.name, segment, first=index == 0)
        for index, segment in enumerate(segments)
    )
    return Route(
        function=function,
        path=path,
        methods=frozenset(str(method).upper() for method in methods) if methods else None,
        pattern=re.compile(pattern, re.IGNORECASE | re.DOTALL),
    )


def _compile_part(name: str, segment: str, *, first: bool) -> str:
    slash = "" if first else "/"
    whole = _PARAMETER.fullmatch(segment)
    if whole is None:
        return slash + compile_segment(name, segment)
    star, parameter, constraint, optional = whole.groups()
    if star:
        return f"(?:{slash}(?P<{parameter}>[^/].*))?"
    value = f"{slash}(?P<{parameter}>{_compile_constraint(name, constraint)})"
    return f"(?:{value})?" if optional else value


def _compile_constraint(name: str, constraint: str | None) -> str:
    if constraint is None:
        return "[^/]+?"
    if constraint in _CONSTRAINTS:
        return _CONSTRAINTS[constraint]
    if match := re.fullmatch(r"(min|max)?length\((\d+)(?:,(\d+))?\)", constraint):
        kind, low, high = match.groups()
        if kind == "min":
            return f"[^/]{{{low},}}"
        if kind == "max":
            return f"[^/]{{1,{low}}}"
        return f"[^/]{{{low},{high or low}}}"
    raise LoadError(
        name,
        f"its route constraint {constraint!r} is not served here",
        remedy=f"use one of {', '.join(sorted(_CONSTRAINTS))}, length, minlength, maxlength",
    )
