"""Makes the tables of Application Insights from captured rows. Entry point: `make_tables`.

Each table has all of its columns, so a query that names another one fails as it does in Azure. A
text that did not come is empty, and custom dimensions are texts, as there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from tests.kql.values import Dynamic

Row: TypeAlias = dict[str, Any]
Table: TypeAlias = list[Row]

_DURATION = re.compile(r"(?:(\d+)\.)?(\d\d):(\d\d):(\d\d(?:\.\d+)?)")
_NAMES = {
    "RequestData": ("requests", "AppRequests"),
    "RemoteDependencyData": ("dependencies", "AppDependencies"),
    "MessageData": ("traces", "AppTraces"),
    "EventData": ("customEvents", "AppEvents"),
    "ExceptionData": ("exceptions", "AppExceptions"),
    "MetricData": ("customMetrics", "AppMetrics"),
}
_OF_THE_PLATFORM = ("AppPerformanceCounters", "AppAvailabilityResults")


def make_tables(items: Sequence[Mapping[str, Any]]) -> dict[str, Table]:
    """Return the tables by the names of the component and by those of its workspace."""
    tables: dict[str, Table] = {name: [] for names in _NAMES.values() for name in names}
    tables |= {name: [] for name in _OF_THE_PLATFORM}
    for item in items:
        kind = str(item["data"]["baseType"])
        of_component, of_workspace = _NAMES[kind]
        tables[of_component].append(_make_row(kind, item))
        tables[of_workspace].append(_make_workspace_row(item))
    return tables


def _make_row(kind: str, item: Mapping[str, Any]) -> Row:
    tags, data = item["tags"], item["data"]["baseData"]
    return {
        "timestamp": datetime.fromisoformat(item["time"]),
        "operation_Id": tags.get("ai.operation.id", ""),
        "operation_ParentId": tags.get("ai.operation.parentId", ""),
        "operation_Name": tags.get("ai.operation.name", ""),
        "operation_SyntheticSource": tags.get("ai.operation.syntheticSource", ""),
        "cloud_RoleName": tags.get("ai.cloud.role", ""),
        "cloud_RoleInstance": tags.get("ai.cloud.roleInstance", ""),
        "application_Version": tags.get("ai.application.ver", ""),
        "itemCount": round(100 / item.get("sampleRate", 100)),
        "customDimensions": Dynamic(data.get("properties") or {}),
        **_COLUMNS[kind](data),
    }


def _make_workspace_row(item: Mapping[str, Any]) -> Row:
    return {
        "TimeGenerated": datetime.fromisoformat(item["time"]),
        "AppRoleName": item["tags"].get("ai.cloud.role", ""),
        "OperationId": item["tags"].get("ai.operation.id", ""),
        "_BilledSize": len(json.dumps(item, separators=(",", ":")).encode()),
    }


def _of_request(data: Mapping[str, Any]) -> Row:
    return {
        "id": data["id"],
        "name": data.get("name") or "",
        "url": data.get("url") or "",
        "source": data.get("source") or "",
        "success": data["success"],
        "resultCode": data["responseCode"],
        "duration": _milliseconds(data["duration"]),
    }


def _of_dependency(data: Mapping[str, Any]) -> Row:
    return {
        "id": data.get("id") or "",
        "name": data["name"],
        "type": data.get("type") or "",
        "target": data.get("target") or "",
        "data": data.get("data") or "",
        "success": data.get("success", True),
        "resultCode": data.get("resultCode") or "",
        "duration": _milliseconds(data["duration"]),
    }


def _of_trace(data: Mapping[str, Any]) -> Row:
    return {"message": data["message"], "severityLevel": data.get("severityLevel", 0)}


def _of_event(data: Mapping[str, Any]) -> Row:
    return {"name": data["name"]}


def _of_exception(data: Mapping[str, Any]) -> Row:
    first = data["exceptions"][0]
    return {
        "type": first["typeName"],
        "outerMessage": first["message"],
        "severityLevel": data.get("severityLevel", 3),
    }


def _of_metric(data: Mapping[str, Any]) -> Row:
    return {"name": data["metrics"][0]["name"], "value": data["metrics"][0]["value"]}


_COLUMNS = {
    "RequestData": _of_request,
    "RemoteDependencyData": _of_dependency,
    "MessageData": _of_trace,
    "EventData": _of_event,
    "ExceptionData": _of_exception,
    "MetricData": _of_metric,
}


def _milliseconds(duration: str) -> float:
    found = _DURATION.fullmatch(duration)
    assert found is not None, duration
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000
