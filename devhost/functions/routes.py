"""Which function serves this method and path?

Route templates as Azure's host takes them (ASP.NET Core): literals without regard to case,
`{name}`, `{name?}`, `{*rest}`, and the constraints int, long, guid, alpha, bool and length.
A more specific template wins; a method that no function of a path takes is 404, as in Azure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from devhost.functions.errors import LoadError
from devhost.functions.indexing import LoadedFunction

ALL_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"})
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
    methods: frozenset[str]
    pattern: re.Pattern[str]
    rank: tuple[tuple[int, str], ...]


class RouteTable:
    """Finds the function for a request; built once."""

    def __init__(self, functions: Iterable[LoadedFunction], *, prefix: str) -> None:
        self.routes = sorted(
            (_compile(function, prefix) for function in functions), key=lambda route: route.rank
        )
        self._fixed: dict[str, list[Route]] = {}
        self._open = [route for route in self.routes if "{" in route.path]
        for route in self.routes:
            if "{" not in route.path:
                self._fixed.setdefault(route.path.lower(), []).append(route)

    def find(self, method: str, raw_path: str) -> tuple[LoadedFunction, Mapping[str, str]] | None:
        """The function and its route parameters for a path as it came (percent-encoded)."""
        path = _decoded(raw_path).strip("/")
        for route in self._fixed.get(path.lower(), ()):
            if method in route.methods:
                return route.function, {}
        for route in self._open:
            if method in route.methods and (match := route.pattern.fullmatch(path)):
                given = {key: value for key, value in match.groupdict().items() if value}
                return route.function, given
        return None


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
        methods=frozenset(str(method).upper() for method in methods) if methods else ALL_METHODS,
        pattern=re.compile(pattern, re.IGNORECASE),
        rank=tuple((_rank(segment), segment.lower()) for segment in segments),
    )


def _rank(segment: str) -> int:
    if "{" not in segment:
        return 0
    if segment.startswith("{*"):
        return 3
    return 1 if ":" in segment or not segment.startswith("{") else 2


def _segment(name: str, segment: str, *, first: bool) -> str:
    slash = "" if first else "/"
    whole = _PARAMETER.fullmatch(segment)
    if whole is None:
        return slash + _mixed(name, segment)
    star, parameter, constraint, optional = whole.groups()
    if star:
        return f"(?:{slash}(?P<{parameter}>.*))?"
    value = f"{slash}(?P<{parameter}>{_value(name, constraint)})"
    return f"(?:{value})?" if optional else value


def _mixed(name: str, segment: str) -> str:
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
