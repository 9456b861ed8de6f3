"""Converts table entities to typed JSON rows and back. Entry points: `from_entity`, `to_entity`."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

KEYS = ("PartitionKey", "RowKey")
_SEPARATOR = " / "


def join_keys(row: Mapping[str, Any]) -> str:
    """Join both keys to one name. The keys of AOS contain no slash."""
    return _SEPARATOR.join(row[name] for name in KEYS)


def from_entity(entity: Mapping[str, Any]) -> dict[str, Any]:
    """Convert an entity to JSON. Texts and booleans stay; other values become [type, text]."""
    return {
        name: value if name in KEYS else _value_to_json(value)
        for name, value in entity.items()
        if value is not None
    }


def to_entity(row: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a row to an entity of the SDK."""
    return {name: value if name in KEYS else _value_from_json(value) for name, value in row.items()}


def _value_to_json(value: Any) -> Any:
    from azure.data.tables import EdmType, EntityProperty

    match value:
        case EntityProperty():
            return [EdmType(value.edm_type).value, str(value.value)]
        case bool() | str():
            return value
        case int():
            return [EdmType.INT32.value, str(value)]
        case float():
            return [EdmType.DOUBLE.value, repr(value)]
        case datetime():
            # The text of the service is more precise than a datetime.
            exact = getattr(value, "tables_service_value", None)
            return [EdmType.DATETIME.value, exact or value.isoformat().replace("+00:00", "Z")]
        case UUID():
            return [EdmType.GUID.value, str(value)]
        case bytes():
            return [EdmType.BINARY.value, base64.b64encode(value).decode()]
    raise TypeError(f"a row contains the unknown type {type(value).__name__}")


def _value_from_json(value: Any) -> Any:
    from azure.data.tables import EdmType, EntityProperty

    if not isinstance(value, list):
        return value
    kind, text = EdmType(value[0]), value[1]
    match kind:
        case EdmType.INT32:
            return int(text)
        case EdmType.DOUBLE:
            return float(text)
        case EdmType.GUID:
            return UUID(text)
        case EdmType.BINARY:
            return base64.b64decode(text)
        case EdmType.INT64:
            return EntityProperty(int(text), kind)
    return EntityProperty(text, kind)
