"""Writes and reads dataclasses by the types of their fields. Entry points: `write`, `read`."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

Step: typing.TypeAlias = Callable[[Any], Any]


class ShapeError(ValueError):
    """A value that does not have the shape of its field; the message begins with the path."""


def write(value: Any) -> Any:
    """The value as what `json.dumps` takes."""
    kind: Any = type(value)
    return _writer(kind)(value)


def read(kind: Any, raw: Any) -> Any:
    """The value of this dataclass that `write` wrote."""
    return _reader(kind)(raw)


def _time_out(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _same(value: Any) -> Any:
    return value


def _maybe(step: Step) -> Step:
    if step is _same:
        return _same
    return lambda value: None if value is None else step(value)


def _optional(kind: Any) -> Any | None:
    """X of `X | None`."""
    union = typing.get_origin(kind) in (types.UnionType, typing.Union)
    rest = [arm for arm in typing.get_args(kind) if arm is not types.NoneType]
    return rest[0] if union and len(rest) == 1 else None


@cache
def _writer(kind: Any) -> Step:
    if (inner := _optional(kind)) is not None:
        return _maybe(_writer(inner))
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        steps = [(f.name, _writer(hints[f.name])) for f in dataclasses.fields(kind)]
        return lambda value: {name: step(getattr(value, name)) for name, step in steps}
    if typing.get_origin(kind) is tuple:
        step = _writer(typing.get_args(kind)[0])
        return list if step is _same else lambda items: [step(item) for item in items]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return lambda value: value.value
    return _time_out if kind is datetime else _same


@cache
def _reader(kind: Any) -> Step:
    if (inner := _optional(kind)) is not None:
        return _maybe(_reader(inner))
    if dataclasses.is_dataclass(kind):
        return _object_reader(typing.cast("type[Any]", kind))
    origin, arms = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        step = _reader(arms[0])
        return lambda items: tuple(step(item) for item in items)
    if origin is typing.Literal:
        return _checked(lambda raw: raw in arms, " or ".join(map(repr, arms)))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind
    if kind is datetime:
        return datetime.fromisoformat
    wanted: Any = {float: (int, float), Mapping: dict}.get(origin or kind, origin or kind)
    name = getattr(kind, "__name__", str(kind))
    return _same if wanted is Any else _checked(lambda raw: isinstance(raw, wanted), name)


def _checked(holds: Callable[[Any], bool], wanted: str) -> Step:
    def step(raw: Any) -> Any:
        if holds(raw):
            return raw
        raise ShapeError(f": {raw!r} is not {wanted}")

    return step


def _object_reader(kind: type[Any]) -> Step:
    hints = typing.get_type_hints(kind)
    steps = [(f.name, _reader(hints[f.name])) for f in dataclasses.fields(kind)]

    def step(raw: Any) -> Any:
        if not isinstance(raw, dict):
            raise ShapeError(f": {raw!r} is not an object")
        given: dict[str, Any] = {}
        for name, inner in steps:
            if name in raw:
                try:
                    given[name] = inner(raw[name])
                except (ValueError, TypeError) as error:
                    text = str(error) if isinstance(error, ShapeError) else f": {error}"
                    raise ShapeError(f".{name}{text}") from error
        try:
            return kind(**given)
        except TypeError as error:
            raise ShapeError(f": {error}") from error

    return step
