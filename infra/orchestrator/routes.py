"""Finds the routes of an app whose requests another route takes. Entry point: `shadows_in`.

The Functions host sorts functions by name (case ignored, `_` after letters) and the first route
that takes a path and its method serves it. What is read is what Azure lists of an app's functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_PARAMETER = re.compile(r"\{(\*{0,2})[^}]*\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    """One HTTP function as Azure lists it; without methods it takes any."""

    function: str
    template: str
    methods: frozenset[str]

    def takes(self, method: str, path: str) -> bool:
        pattern, end = "", 0
        for found in _PARAMETER.finditer(self.template):
            pattern += re.escape(self.template[end : found.start()])
            pattern += ".*" if found[1] else "[^/]+"
            end = found.end()
        pattern += re.escape(self.template[end:])
        fits = re.fullmatch(pattern, path, re.IGNORECASE) is not None
        return fits and (not self.methods or method in self.methods)

    def sample(self) -> tuple[str, str]:
        """A request that is meant for this route."""
        method = min(self.methods, default="GET")
        return method, _PARAMETER.sub("sample", self.template)


def shadows_in(functions: Iterable[Mapping[str, Any]]) -> str:
    """Which functions lose their requests, and to which; empty if none does."""
    routes = sorted(filter(None, map(_route, functions)), key=lambda it: it.function.upper())
    lost: dict[_Route, list[str]] = {}
    for route in routes:
        taker = next(it for it in routes if it.takes(*route.sample()))
        if taker is not route:
            lost.setdefault(taker, []).append(route.function)
    return "; ".join(
        f"{taker.function} (route {taker.template}) takes the requests of {', '.join(names)}:"
        f" the host takes the first route by function name, so rename {taker.function} to sort last"
        for taker, names in lost.items()
    )


def _route(function: Mapping[str, Any]) -> _Route | None:
    """None where there is no HTTP trigger, or Azure does not say which; a disabled one is none."""
    # Some versions of az flatten `properties`, others do not.
    listed = function.get("properties") or function
    bindings = (listed.get("config") or {}).get("bindings") or []
    for binding in bindings:
        if str(binding.get("type", "")).lower() == "httptrigger" and not listed.get("isDisabled"):
            name = str(listed.get("name") or function.get("name")).rpartition("/")[2]
            methods = frozenset(str(it).upper() for it in binding.get("methods") or ())
            template = str(binding.get("route") or name).strip("/")
            return _Route(function=name, template=template, methods=methods)
    return None
