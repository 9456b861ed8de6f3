"""Finds routes whose requests an earlier route takes. Entry point: `find_shadows`.

Azure's host takes the first route that matches, in the order of the functions' names. A route is
shadowed if an earlier one takes some of its paths and methods, unless the earlier one is the
special case of the two: `agents/mine` before `agents/{agent_id}` is as it should be.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from devhost.functions.routes import Route, segment_pattern

_PLAIN = re.compile(r"\{\w+\}")
_OPTIONAL = re.compile(r"\{[^}]*\?\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """`later` loses requests to `earlier`."""

    earlier: Route
    later: Route


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """One form of a template: its segments, and whether any number of others may follow."""

    segments: tuple[str, ...]
    open_end: bool


def find_shadows(routes: Sequence[Route]) -> list[Shadow]:
    """The shadows among routes that stand in the host's order."""
    return [
        Shadow(earlier=earlier, later=later)
        for earlier, later in combinations(routes, 2)
        if _share_a_method(earlier, later) and _is_shadowed(earlier.path, later.path)
    ]


def _share_a_method(one: Route, other: Route) -> bool:
    if one.methods is None or other.methods is None:
        return True
    return not one.methods.isdisjoint(other.methods)


def _is_shadowed(earlier: str, later: str) -> bool:
    first, second = _shapes(earlier), _shapes(later)
    if not any(_overlap(one, other) for one in first for other in second):
        return False
    return not _cover(second, first) or _cover(first, second)


def _shapes(path: str) -> list[_Shape]:
    """The template with its optional last segment and without; a catch-all is an open end."""
    segments = path.lower().split("/")
    last = segments[-1]
    if last.startswith("{*"):
        return [_Shape(segments=tuple(segments[:-1]), open_end=True)]
    if _OPTIONAL.fullmatch(last):
        given = (*segments[:-1], last.replace("?}", "}"))
        return [
            _Shape(segments=given, open_end=False),
            _Shape(segments=tuple(segments[:-1]), open_end=False),
        ]
    return [_Shape(segments=tuple(segments), open_end=False)]


def _overlap(one: _Shape, other: _Shape) -> bool:
    """Whether some path has both shapes."""
    if not one.open_end and len(other.segments) > len(one.segments):
        return False
    if not other.open_end and len(one.segments) > len(other.segments):
        return False
    return all(map(_meet, one.segments, other.segments))


def _cover(general: list[_Shape], special: list[_Shape]) -> bool:
    """Whether every path of `special` has a shape of `general`."""
    return all(any(_covers(wide, narrow) for wide in general) for narrow in special)


def _covers(wide: _Shape, narrow: _Shape) -> bool:
    if not wide.open_end and (narrow.open_end or len(narrow.segments) != len(wide.segments)):
        return False
    if len(narrow.segments) < len(wide.segments):
        return False
    return all(map(_contains, wide.segments, narrow.segments))


def _meet(one: str, other: str) -> bool:
    """Whether some segment fits both. Two parameters are taken to meet, whatever they ask for."""
    if "{" in one and "{" in other:
        return True
    return _contains(one, other) or _contains(other, one)


def _contains(wide: str, narrow: str) -> bool:
    if "{" in narrow:
        return bool(_PLAIN.fullmatch(wide)) or _nameless(wide) == _nameless(narrow)
    return re.fullmatch(segment_pattern("", wide), narrow, re.IGNORECASE) is not None


def _nameless(segment: str) -> str:
    """The segment without the names of its parameters, constraints kept."""
    return re.sub(r"\{\w+", "{", segment)
