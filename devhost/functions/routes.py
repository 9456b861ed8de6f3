"""Finds the function that serves a method and a path. Entry point: `RouteTable.find`.

Route templates as Azure's host takes them (ASP.NET Core): literals without regard to case,
`{name}`, `{name?}`, `{*rest}`, and the constraints int, long, guid, alpha, bool and length.
The order is the host's: functions sorted by name, and the first that takes the path and the
method serves it. A specific template does not win over a general one. Where none takes the
method the answer is 404, not 405. One slash may end a path; an empty segment (`//`) fits no
literal and no parameter, and only within what a `{*rest}` has begun to take.
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
    """One HTTP function's template, compiled."""

    function: LoadedFunction
    path: str
    methods: frozenset[str] | None
    """None: any method."""
    pattern: re.Pattern[str]

    def takes(self, method: str) -> bool:
        """Whether a request with this method may come here."""
        return self.methods is None or method in self.methods


class RouteTable:
    """Finds the function for a request; built once."""

    def __init__(self, functions: Iterable[LoadedFunction], *, prefix: str) -> None:
        in_order = sorted(functions, key=lambda function: host_order(function.name))
        self.routes = tuple(_compile(function, prefix) for function in in_order)

    def find(self, method: str, raw_path: str) -> tuple[LoadedFunction, Mapping[str, str]] | None:
        """The function and its route parameters for a path as it came (percent-encoded)."""
        path = _decoded(raw_path).removeprefix("/").removesuffix("/")
        for route in self.routes:
            if route.takes(method) and (match := route.pattern.fullmatch(path)):
                given = {key: value for key, value in match.groupdict().items() if value}
                return route.function, given
        return None


def host_order(name: str) -> str:
    """What the host sorts functions by: .NET's OrdinalIgnoreCase compares upper-case letters, so
    `_` comes after every letter and digit."""
    return name.upper()


def segment_pattern(name: str, segment: str) -> str:
    """The expression for one segment; raises LoadError that names the function `name`."""
    pieces: list[str] = []
    position = 0
    for match in _PARAMETER.finditer(segment):
        pieces.append(re.escape(segment[position : match.start()]))
        pieces.append(f"(?P<{match[2]}>{_value(name, match[3])})")
        position = match.end()
    rest = segment[position:]
    if "{" in rest or "}" in rest:
        raise LoadError(name, f"its route segment {segment!r} is malformed", remedy="close the {}")
    return "".join([*pieces, re.escape(rest)])


def _decoded(raw_path: str) -> str:
    if "%" not in raw_path:
        return raw_path
    return unquote(_ENCODED_SLASH.sub("%252F", raw_path))


def _compile(function: LoadedFunction, prefix: str) -> Route:
    template = str(function.trigger.get("route") or function.name).strip("/")
    path = f"{prefix}/{template}".strip("/")
    methods = function.trigger.get("methods")
    segments = path.split("/")
    pattern = "".join(
        _segment(function.name, segment, first=index == 0) for index, segment in enumerate(segments)
    )
    return Route(
        function=function,
        path=path,
        methods=frozenset(str(method).upper() for method in methods) if methods else None,
        pattern=re.compile(pattern, re.IGNORECASE | re.DOTALL),
    )


def _segment(name: str, segment: str, *, first: bool) -> str:
    slash = "" if first else "/"
    whole = _PARAMETER.fullmatch(segment)
    if whole is None:
        return slash + segment_pattern(name, segment)
    star, parameter, constraint, optional = whole.groups()
    if star:
        return f"(?:{slash}(?P<{parameter}>[^/].*))?"
    value = f"{slash}(?P<{parameter}>{_value(name, constraint)})"
    return f"(?:{value})?" if optional else value


def _value(name: str, constraint: str | None) -> str:
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
