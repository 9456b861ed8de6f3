"""Finds routes whose requests an earlier route takes. Entry point: `find_shadows`.

Azure's host takes the first route that matches, in the order of the functions' names. A route is
shadowed if an earlier route takes some of its paths and methods. It does not count if the earlier
route is the special case of the two: `agents/mine` before `agents/{agent_id}` is correct.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from devhost.functions.routes import Route, compile_segment

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
    """Return the shadows among routes that are sorted in the host's order."""
    return [
        Shadow(earlier=earlier, later=later)
        for earlier, later in combinations(routes, 2)
        if _has_common_method(earlier, later) and _is_shadowed(earlier.path, later.path)
    ]


def _has_common_method(one: Route, other: Route) -> bool:
    if one.methods is None or other.methods is None:
        return True
    return not one.methods.isdisjoint(other.methods)


def _is_shadowed(earlier: str, later: str) -> bool:
    first, second = _list_shapes(earlier), _list_shapes(later)
    if not any(_is_overlap(one, other) for one in first for other in second):
        return False
    return not _is_covering(second, first) or _is_covering(first, second)


def _list_shapes(path: str) -> list[_Shape]:
    """Return the template with and without its optional last segment; a catch-all has an open
    end."""
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


def _is_overlap(one: _Shape, other: _Shape) -> bool:
    """Whether some path matches both shapes."""
    if not one.open_end and len(other.segments) > len(one.segments):
        return False
    if not other.open_end and len(one.segments) > len(other.segments):
        return False
    return all(map(_is_common, one.segments, other.segments))


def _is_covering(general: list[_Shape], special: list[_Shape]) -> bool:
    """Whether every path of `special` matches a shape of `general`."""
    return all(any(_is_shape_covering(wide, narrow) for wide in general) for narrow in special)


def _is_shape_covering(wide: _Shape, narrow: _Shape) -> bool:
    if not wide.open_end and (narrow.open_end or len(narrow.segments) != len(wide.segments)):
        return False
    if len(narrow.segments) < len(wide.segments):
        return False
    return all(map(_is_containing, wide.segments, narrow.segments))


def _is_common(one: str, other: str) -> bool:
    """Whether some segment matches both. Two parameters always count as a match."""
    if "{" in one and "{" in other:
        return True
    return _is_containing(one, other) or _is_containing(other, one)


def _is_containing(wide: str, narrow: str) -> bool:
    if "{" in narrow:
        return bool(_PLAIN.fullmatch(wide)) or _strip_names(wide) == _strip_names(narrow)
    return re.fullmatch(compile_segment("", wide), narrow, re.IGNORECASE) is not None


def _strip_names(segment: str) -> str:
    """Return the segment without the names of its parameters, but with their constraints."""
    return re.sub(r"\{\w+", "{", segment)
