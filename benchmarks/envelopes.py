"""Checks a row as the ingestion endpoint of Application Insights does. Entry point:
`find_problem`.

The limits are those of Microsoft's schemas (ApplicationInsights-Home, EndpointSpecs/Schemas/Bond).
Where Application Insights cuts a text that is too long, the row is refused here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

MAX_ITEM = 64 * 1024
MAX_KEY = 150
MAX_VALUE = 8192
OLDEST = timedelta(hours=48)
NEWEST = timedelta(hours=2)
SEVERITIES = (0, 1, 2, 3, 4, "Verbose", "Information", "Warning", "Error", "Critical")
_DURATION = re.compile(r"(\d{1,3}\.)?([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,7})?")
_OPERATION = re.compile(r"[0-9a-f]{32}")
_SPAN = re.compile(r"[0-9a-f]{16}")
_TAGS = {
    "ai.operation.name": 1024,
    "ai.operation.id": 128,
    "ai.operation.parentId": 512,
    "ai.operation.syntheticSource": 1024,
    "ai.cloud.role": 256,
    "ai.cloud.roleInstance": 256,
    "ai.application.ver": 1024,
    "ai.internal.sdkVersion": 64,
    "ai.internal.nodeName": 256,
    "ai.device.id": 1024,
    "ai.device.type": 64,
    "ai.device.locale": 64,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The texts of a kind of row with their greatest lengths, and which fields are required."""

    name: str
    texts: Mapping[str, int]
    required: tuple[str, ...]


SCHEMAS = {
    "RequestData": Schema(
        name="Request",
        texts={"id": 512, "name": 1024, "responseCode": 1024, "source": 1024, "url": 2048},
        required=("id", "duration", "responseCode", "success"),
    ),
    "RemoteDependencyData": Schema(
        name="RemoteDependency",
        texts={
            "id": 512,
            "name": 1024,
            "resultCode": 1024,
            "data": 8192,
            "type": 1024,
            "target": 1024,
        },
        required=("name", "duration"),
    ),
    "MessageData": Schema(name="Message", texts={"message": 32768}, required=("message",)),
    "EventData": Schema(name="Event", texts={"name": 512}, required=("name",)),
    "ExceptionData": Schema(name="Exception", texts={}, required=("exceptions",)),
    "MetricData": Schema(name="Metric", texts={}, required=("metrics",)),
}


def find_problem(item: Any, *, instrumentation_key: str) -> str | None:
    """Return why the row is refused, or None."""
    if not isinstance(item, dict):
        return "an item is not an object"
    if len(json.dumps(item, separators=(",", ":"), ensure_ascii=False).encode()) > MAX_ITEM:
        return f"the item has more than {MAX_ITEM:,} bytes"
    if item.get("iKey") != instrumentation_key:
        return "Invalid instrumentation key"
    return _find_in_envelope(item) or _find_in_tags(item.get("tags", {})) or _find_in_data(item)


def _find_in_envelope(item: Mapping[str, Any]) -> str | None:
    name, time = item.get("name"), item.get("time")
    if not isinstance(name, str) or not 0 < len(name) <= 1024:
        return "Field 'name' on type 'Envelope' is required and has at most 1,024 characters"
    try:
        age = datetime.now(UTC) - datetime.fromisoformat(str(time))
    except (ValueError, TypeError):
        return f"Field 'time' on type 'Envelope' is not a date with a time zone: {time!r}"
    if not -NEWEST <= age <= OLDEST:
        return f"Field 'time' on type 'Envelope' is too old or in the future: {time!r}"
    rate = item.get("sampleRate", 100.0)
    if not isinstance(rate, int | float) or not 0 < rate <= 100:
        return f"Field 'sampleRate' on type 'Envelope' is not a percentage: {rate!r}"
    return None


def _find_in_tags(tags: Any) -> str | None:
    if not isinstance(tags, dict):
        return "Field 'tags' on type 'Envelope' is not an object"
    for name, value in tags.items():
        if not isinstance(value, str):
            return f"the tag {name!r} is not a text"
        if len(value) > _TAGS.get(name, 1024):
            return f"the tag {name!r} has more than {_TAGS.get(name, 1024):,} characters"
    if not _OPERATION.fullmatch(tags.get("ai.operation.id", "0" * 32)):
        return f"the tag 'ai.operation.id' is not a trace id: {tags['ai.operation.id']!r}"
    if not _SPAN.fullmatch(tags.get("ai.operation.parentId", "0" * 16)):
        return (
            f"the tag 'ai.operation.parentId' is not a span id: {tags['ai.operation.parentId']!r}"
        )
    return None


def _find_in_data(item: Mapping[str, Any]) -> str | None:
    data = item.get("data")
    kind = data.get("baseType") if isinstance(data, dict) else None
    schema = SCHEMAS.get(str(kind))
    if not isinstance(data, dict) or schema is None:
        return f"Field 'baseType' on type 'Data' is unknown: {kind!r}"
    row = data.get("baseData")
    if not isinstance(row, dict):
        return f"Field 'baseData' of a {schema.name} is not an object"
    if row.get("ver") != 2:
        return f"Field 'ver' on type '{schema.name}Data' is {row.get('ver')!r}, not 2"
    return (
        _find_in_fields(row, schema)
        or _find_in_properties(row.get("properties") or {})
        or _find_in_measurements(row.get("measurements") or {})
    )


def _find_in_fields(row: Mapping[str, Any], schema: Schema) -> str | None:
    missing = [name for name in schema.required if row.get(name) in (None, "", [])]
    if missing:
        return f"Field {missing[0]!r} on type '{schema.name}Data' is required but missing or empty"
    for name, most in schema.texts.items():
        value = row.get(name)
        if value is not None and not (isinstance(value, str) and len(value) <= most):
            return f"Field {name!r} on type '{schema.name}Data' is not a text of at most {most:,}"
    if "duration" in schema.required and not _DURATION.fullmatch(str(row["duration"])):
        return f"Field 'duration' on type '{schema.name}Data' is {row['duration']!r}"
    if not isinstance(row.get("success", True), bool):
        return f"Field 'success' on type '{schema.name}Data' is not a boolean"
    if row.get("severityLevel", 0) not in SEVERITIES:
        return f"Field 'severityLevel' is {row['severityLevel']!r}"
    for detail in row.get("exceptions", ()):
        if not detail.get("typeName") or not detail.get("message"):
            return "Fields 'typeName' and 'message' on type 'ExceptionDetails' are required"
        if len(detail["typeName"]) > 1024 or len(detail["message"]) > 32768:
            return "Field 'typeName' or 'message' on type 'ExceptionDetails' is too long"
    return None


def _find_in_properties(properties: Any) -> str | None:
    if not isinstance(properties, dict):
        return "Field 'properties' is not an object"
    for name, value in properties.items():
        if not 0 < len(name) <= MAX_KEY:
            return (
                f"the name of the property {name[:40]!r} has no or more than {MAX_KEY} characters"
            )
        if not isinstance(value, str):
            return f"the property {name!r} is not a text"
        if len(value) > MAX_VALUE:
            return f"the property {name!r} has more than {MAX_VALUE:,} characters"
    return None


def _find_in_measurements(measurements: Any) -> str | None:
    if not isinstance(measurements, dict):
        return "Field 'measurements' is not an object"
    for name, value in measurements.items():
        if not 0 < len(name) <= MAX_KEY:
            return f"the name of the measurement {name[:40]!r} is too long or empty"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"the measurement {name!r} is not a number"
    return None
