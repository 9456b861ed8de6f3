"""How does a row of a table become JSON and the same row again, the types of its values kept?"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

KEYS = ("PartitionKey", "RowKey")
_SEPARATOR = " / "


def key(row: Mapping[str, Any]) -> str:
    """Both keys as one name; keys of AOS hold no slash."""
    return _SEPARATOR.join(row[name] for name in KEYS)


def from_entity(entity: Mapping[str, Any]) -> dict[str, Any]:
    """JSON: texts and booleans as they are, anything else as [type, text]."""
    return {
        name: value if name in KEYS else _from_value(value)
        for name, value in entity.items()
        if value is not None
    }


def to_entity(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row for the SDK."""
    return {name: value if name in KEYS else _to_value(value) for name, value in row.items()}


def _from_value(value: Any) -> Any:
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
            # The service's own text: it is finer than a datetime.
            exact = getattr(value, "tables_service_value", None)
            return [EdmType.DATETIME.value, exact or value.isoformat().replace("+00:00", "Z")]
        case UUID():
            return [EdmType.GUID.value, str(value)]
        case bytes():
            return [EdmType.BINARY.value, base64.b64encode(value).decode()]
    raise TypeError(f"a row holds a {type(value).__name__}")


def _to_value(value: Any) -> Any:
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
