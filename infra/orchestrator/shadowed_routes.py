"""Finds routes whose requests another route takes. Entry point: `describe_shadowed_routes`.

The Functions host sorts functions by name (case ignored, `_` after letters), and the first route
that matches a path and a method gets the request. The input is Azure's list of an app's functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_PARAMETER = re.compile(r"\{(\*{0,2})[^}]*\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    """One HTTP function. Without methods it accepts every method."""

    function: str
    template: str
    methods: frozenset[str]

    def matches(self, method: str, path: str) -> bool:
        pattern, end = "", 0
        for found in _PARAMETER.finditer(self.template):
            pattern += re.escape(self.template[end : found.start()])
            pattern += ".*" if found[1] else "[^/]+"
            end = found.end()
        pattern += re.escape(self.template[end:])
        fits = re.fullmatch(pattern, path, re.IGNORECASE) is not None
        return fits and (not self.methods or method in self.methods)

    def make_sample(self) -> tuple[str, str]:
        """Make a method and a path that this route should serve."""
        method = min(self.methods, default="GET")
        return method, _PARAMETER.sub("sample", self.template)


def describe_shadowed_routes(functions: Iterable[Mapping[str, Any]]) -> str:
    """Describe which functions get no requests because of another one. Empty if there are none."""
    routes = sorted(filter(None, map(_read_route, functions)), key=lambda it: it.function.upper())
    lost: dict[_Route, list[str]] = {}
    for route in routes:
        taker = next(it for it in routes if it.matches(*route.make_sample()))
        if taker is not route:
            lost.setdefault(taker, []).append(route.function)
    return "; ".join(
        f"{taker.function} (route {taker.template}) takes the requests of {', '.join(names)}:"
        f" the host uses the first match by function name, so rename {taker.function} to sort last"
        for taker, names in lost.items()
    )


def _read_route(function: Mapping[str, Any]) -> _Route | None:
    """Read a route. None when the function has no HTTP trigger or is disabled."""
    # Some versions of az print the fields of `properties` at the top level.
    listed = function.get("properties") or function
    bindings = (listed.get("config") or {}).get("bindings") or []
    for binding in bindings:
        if str(binding.get("type", "")).lower() == "httptrigger" and not listed.get("isDisabled"):
            name = str(listed.get("name") or function.get("name")).rpartition("/")[2]
            methods = frozenset(str(it).upper() for it in binding.get("methods") or ())
            template = str(binding.get("route") or name).strip("/")
            return _Route(function=name, template=template, methods=methods)
    return None
