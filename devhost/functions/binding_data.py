"""Builds the metadata of a trigger as Azure's host passes it to the Python worker. Entry points:
`bind_body`, `as_datum`.

It also reproduces a risk of bodies that are bound as text: top-level fields of a JSON object
overwrite metadata of the same name, ignoring case (azure-functions-dotnet-worker#991). Numbers and
booleans become strings, objects become JSON; arrays and nulls are left out.
`Utility.ApplyBindingData` of azure-functions-host does this.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from azure.functions.meta import Datum


def as_datum(value: object) -> Datum:
    """Convert a value as the host sends it: text as text, everything else as JSON."""
    if isinstance(value, str):
        return Datum(value, "string")
    return Datum(json.dumps(value, ensure_ascii=False), "json")


def bind_body(
    body: bytes, *, binary: bool, metadata: Mapping[str, Datum]
) -> tuple[Datum, Mapping[str, Datum]]:
    """Return the trigger's data, and the metadata that the function gets."""
    if binary:
        return Datum(body, "bytes"), metadata
    text = body.decode("utf-8", "replace")
    return Datum(text, "string"), _overwrite_metadata(metadata, text)


def _overwrite_metadata(metadata: Mapping[str, Datum], text: str) -> Mapping[str, Datum]:
    stripped = text.strip()
    if not (stripped.startswith("{") and stripped.endswith("}")):
        return metadata
    try:
        fields = json.loads(stripped)
    except (ValueError, RecursionError):
        return metadata
    merged = dict(metadata)
    names = {name.lower(): name for name in metadata}
    for name, value in fields.items():
        datum = _convert_field(value)
        if datum is not None:
            merged[names.setdefault(name.lower(), name)] = datum
    return merged


def _convert_field(value: Any) -> Datum | None:
    match value:
        case None | list():
            return None
        case dict():
            return Datum(json.dumps(value), "json")
        case str() | bool():
            return Datum(str(value), "string")
        case _:
            return Datum(json.dumps(value), "string")
