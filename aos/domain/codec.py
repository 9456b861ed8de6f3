"""Encodes dataclasses as JSON objects and decodes them. Entry points: `encode`, `decode`.

The dataclass declares the shape: its fields, in their order. A field with `init=False` is computed:
written, not read. `OMITTED` as metadata: written only where it differs from its default. `KEPT`:
holds the fields that only a newer version knows, so that they are written back. A class may define
`after_encode(self, raw)` and `before_decode(cls, raw)`, which return the object in its other form.
The classes of a union are told apart by their field `type`.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

from aos.domain.wire_time import to_wire_time

T = TypeVar("T")
Step: typing.TypeAlias = Callable[[Any], Any]
OMITTED = {"omitted": True}
KEPT = {"kept": True}
"""Metadata of a field, a mapping, of a value that is read from a row and written back: while two
versions run side by side, the older one must not drop what the newer one wrote."""
_ABSENT = object()
_AT_ONCE = {str: str, str | None: str, int: int, int | None: int, bool: bool, dict[str, Any]: dict}
"""Types of fields whose value is taken as it is where JSON has this type; for speed."""
_NAMES = {str: "a text", float: "a number", bool: "true or false"}


class ShapeError(ValueError):
    """A value that does not have the shape of its class; the message begins with the path."""


def encode(value: Any, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The dataclass as an object for `write_json`, without the named fields."""
    kind: Any = type(value)
    raw: dict[str, Any] = _codec(kind)[0](value)
    return {name: raw[name] for name in raw if name not in without} if without else raw


def decode(kind: Callable[..., T], raw: Any) -> T:
    """The dataclass that the object holds; raises ShapeError.

    Unknown fields are ignored. A field that is missing or null takes its default.
    """
    try:
        value: T = _codec(kind)[1](raw)
    except ShapeError as error:
        raise ShapeError(f"{getattr(kind, '__name__', '')}{error}") from error
    return value


@cache
def _codec(kind: Any) -> tuple[Step, Step]:
    """How a value of this type is encoded, and how it is decoded."""
    origin = typing.get_origin(kind) or kind
    arms = [arm for arm in typing.get_args(kind) if arm is not types.NoneType]
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return _object_encoder(kind, hints), _object_decoder(kind, hints)
    if origin in (types.UnionType, typing.Union):
        return _codec(arms[0]) if len(arms) == 1 else (encode, _union_decoder(arms))
    if origin is tuple:
        write, read = _codec(arms[0])
        return list if write is _same else lambda items: [write(item) for item in items], _all(read)
    if origin is typing.Literal:
        return _same, _choice({arm: arm for arm in arms})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return attrgetter("value"), _choice({member.value: member for member in kind})
    if kind is datetime:
        return to_wire_time, _time
    if kind is int:
        return _same, _whole
    exact = {Mapping: (dict,), float: (float, int)}.get(origin, (origin,))
    wanted = _NAMES.get(origin, "an object")
    return _same, lambda raw: raw if type(raw) in exact else _refuse(type(raw), wanted)


def _same(value: Any) -> Any:
    return value


def _refuse(raw: Any, wanted: str) -> typing.NoReturn:
    shown = raw.__name__ if isinstance(raw, type) else repr(raw)[:80]
    raise ShapeError(f" is not {wanted} but {shown}")


def _choice(known: dict[Any, Any]) -> Step:
    wanted = f"one of {', '.join(map(repr, known))}"
    return lambda raw: known[raw] if type(raw) is str and raw in known else _refuse(raw, wanted)


def _whole(raw: Any) -> int:
    if type(raw) is float and raw.is_integer():  # a card may say 1000.0
        return int(raw)
    return raw if type(raw) is int else _refuse(type(raw), "a whole number")


def _time(raw: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(raw)
    except (TypeError, ValueError):
        _refuse(raw, "a time")
    return moment if moment.tzinfo else _refuse(raw, "a time with an offset")


def _all(step: Step) -> Step:
    def read(raw: Any) -> Any:
        found: list[Any] = []
        if not isinstance(raw, list):
            _refuse(type(raw), "a list")
        for item in raw:
            try:
                found.append(step(item))
            except ShapeError as error:
                raise ShapeError(f"[{len(found)}]{error}") from error
        return tuple(found)

    return read


def _union_decoder(kinds: list[Any]) -> Step:
    fields = [(f, kind) for kind in kinds for f in dataclasses.fields(kind)]
    steps: dict[Any, Step] = {f.default: _codec(kind)[1] for f, kind in fields if f.name == "type"}

    def read(raw: Any) -> Any:
        name = raw.get("type") if isinstance(raw, dict) else None
        step = steps.get(name) if isinstance(name, str) else None
        return step(raw) if step else _refuse(name, f"of a known type ({', '.join(steps)})")

    return read


def _object_encoder(kind: Any, hints: dict[str, Any]) -> Step:
    names: dict[str, Any] = {"nothing": {}}
    members = []
    for field in dataclasses.fields(kind):
        name, value = field.name, f"value.{field.name}"
        if field.metadata == KEPT:
            members.append(f"**{value}")
            continue
        step = names[f"_{name}"] = _codec(hints[name])[0]
        written = value if step is _same else f"None if {value} is None else _{name}({value})"
        member = f"{name!r}: {written}"
        if field.metadata == OMITTED:
            names[f"default_{name}"] = field.default
            member = f"**(nothing if {value} == default_{name} else {{{member}}})"
        members.append(member)
    write = _compile(f"lambda value: {{{', '.join(members)}}}", names)
    after = getattr(kind, "after_encode", None)
    return write if after is None else lambda value: after(value, write(value))


def _object_decoder(kind: Any, hints: dict[str, Any]) -> Step:
    names: dict[str, Any] = {"kind": kind, "absent": _ABSENT}
    arguments = []
    for field in dataclasses.fields(kind):
        if field.init and field.metadata != KEPT:
            _refuse_two_meanings(kind, field, hints[field.name])
            names[f"_{field.name}"] = _field_reader(field.name, _codec(hints[field.name])[1])
            names[f"default_{field.name}"] = field.default
            names[f"make_{field.name}"] = field.default_factory
            arguments.append(_argument(field, _AT_ONCE.get(hints[field.name])))
    make = _compile(f"lambda get: kind({', '.join(arguments)})", names)
    before = getattr(kind, "before_decode", None)
    keep = _keeper(kind)

    def read(raw: Any) -> Any:
        if not isinstance(raw, dict):
            _refuse(type(raw), "an object")
        try:
            known = raw if before is None else before(raw)
            return keep(make(known.get), known)
        except ShapeError:
            raise
        except ValueError as error:  # of its `__post_init__`
            raise ShapeError(f": {error}") from error

    return read


def _refuse_two_meanings(kind: Any, field: dataclasses.Field[Any], hint: Any) -> None:
    """Raise TypeError for a field whose None would be read again as another default."""
    has_default = (field.default, field.default_factory) != (dataclasses.MISSING,) * 2
    if has_default and types.NoneType in typing.get_args(hint) and field.default is not None:
        raise TypeError(
            f"{kind.__name__}.{field.name} may be None, and None is read as its default"
        )


def _keeper(kind: Any) -> Callable[[Any, dict[str, Any]], Any]:
    """Add the fields that only a newer version knows, where the class has a place for them."""
    fields = dataclasses.fields(kind)
    kept = next((field.name for field in fields if field.metadata == KEPT), None)
    if kept is None:
        return lambda value, raw: value
    known = {field.name for field in fields if field.name != kept}

    def keep(value: Any, raw: dict[str, Any]) -> Any:
        if raw.keys() <= known:
            return value
        more = {name: item for name, item in raw.items() if name not in known}
        return dataclasses.replace(value, **{kept: more})

    return keep


def _argument(field: dataclasses.Field[Any], exact: type | None) -> str:
    """The argument of the constructor: a value of the exact type needs no reader."""
    name, read = field.name, f"_{field.name}(found)"
    fit = f"found if type(found) is {exact.__name__} else {read}" if exact else read
    if field.default is not dataclasses.MISSING:
        return f"{name}=default_{name} if (found := get({name!r})) is None else {fit}"
    if field.default_factory is not dataclasses.MISSING:
        return f"{name}=make_{name}() if (found := get({name!r})) is None else {fit}"
    return f"{name}=_{name}(absent) if (found := get({name!r}, absent)) is absent else {fit}"


def _field_reader(name: str, step: Step) -> Step:
    def read(raw: Any) -> Any:
        if raw is _ABSENT:
            raise ShapeError(f" lacks {name}")
        try:
            return step(raw)
        except ShapeError as error:
            raise ShapeError(f".{name}{error}") from error

    return read


def _compile(source: str, names: dict[str, Any]) -> Step:
    """A function with all fields written out, as `dataclasses` does it; a loop takes longer."""
    return typing.cast(Step, eval(source, names))
