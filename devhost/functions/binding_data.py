"""What does a function learn of its trigger beside the body, and how can a body forge it?

The metadata of a trigger in the form in which Azure's host hands it to the Python worker, and the
trap that comes with a body bound as text: top-level fields of a JSON object overwrite metadata of
the same name, letter case ignored (azure-functions-dotnet-worker#991). Numbers and truth values
arrive as strings, objects as JSON; arrays and nulls are left out. `Utility.ApplyBindingData` of
azure-functions-host does it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from azure.functions.meta import Datum


def as_datum(value: object) -> Datum:
    """A value as the host sends it: text as text, everything else as JSON."""
    if isinstance(value, str):
        return Datum(value, "string")
    return Datum(json.dumps(value, ensure_ascii=False), "json")


def bind_body(
    body: bytes, *, binary: bool, metadata: Mapping[str, Datum]
) -> tuple[Datum, Mapping[str, Datum]]:
    """The trigger's data, and the metadata as the function will see it."""
    if binary:
        return Datum(body, "bytes"), metadata
    text = body.decode("utf-8", "replace")
    return Datum(text, "string"), _overwritten(metadata, text)


def _overwritten(metadata: Mapping[str, Datum], text: str) -> Mapping[str, Datum]:
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
        datum = _field(value)
        if datum is not None:
            merged[names.setdefault(name.lower(), name)] = datum
    return merged


def _field(value: Any) -> Datum | None:
    match value:
        case None | list():
            return None
        case dict():
            return Datum(json.dumps(value), "json")
        case str() | bool():
            return Datum(str(value), "string")
        case _:
            return Datum(json.dumps(value), "string")
