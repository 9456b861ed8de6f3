"""Checks Service Bus and storage. Entry points: `check_service_bus`, `check_storage`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.orchestrator.azure_cli import Answer, Az
from infra.orchestrator.azure_errors import classify_answer
from infra.orchestrator.resource_checks import Check

CONTAINERS = ("aos-config", "aos-data", "aos-logs")
QUEUES = ("aos-requests", "aos-main", "aos-realm", "aos-mcp")
TOPICS = ("agent-events", "system-events")


def check_service_bus(az: Az, group: str, namespace: str) -> list[Check]:
    """Check the namespace, and the queues and topics that the apps need."""
    shown = az.run(
        "servicebus", "namespace", "show", "-g", group, "--name", namespace, "-o", "json"
    )
    named = ("--resource-group", group, "--namespace-name", namespace, "-o", "json")
    return [
        _check_provisioned("Service Bus", namespace, shown),
        *_check_entities("queue", az.run("servicebus", "queue", "list", *named), QUEUES),
        *_check_entities("topic", az.run("servicebus", "topic", "list", *named), TOPICS),
    ]


def check_storage(az: Az, group: str, account: str) -> list[Check]:
    """Check the storage account of the state and its containers, without data-plane rights."""
    shown = az.run("storage", "account", "show", "-g", group, "--name", account, "-o", "json")
    found = az.run("storage", "container-rm", "list", "--storage-account", account, "-o", "json")
    return [
        _check_provisioned("storage account", account, shown),
        *_check_entities("container", found, CONTAINERS),
    ]


def _check_provisioned(kind: str, name: str, answer: Answer) -> Check:
    if not answer.succeeded:
        return Check(kind=kind, name=name, state="unhealthy", detail=classify_answer(answer).reason)
    state = str(answer.parse_json().get("provisioningState"))
    if state == "Succeeded":
        return Check(kind=kind, name=name, state="healthy")
    return Check(kind=kind, name=name, state="unhealthy", detail=state)


def _check_entities(kind: str, answer: Answer, needed: tuple[str, ...]) -> list[Check]:
    if not answer.succeeded:
        detail = classify_answer(answer).reason
        return [Check(kind=f"{kind}s", name="", state="unhealthy", detail=detail)]
    found: dict[str, Mapping[str, Any]] = {str(it["name"]): it for it in answer.parse_json()}
    return [_check_entity(kind, name, found.get(name)) for name in dict.fromkeys([*needed, *found])]


def _check_entity(kind: str, name: str, found: Mapping[str, Any] | None) -> Check:
    if found is None:
        return Check(kind=kind, name=name, state="unhealthy", detail="is missing")
    status = str(found.get("status", "Active"))
    if status == "Active":
        return Check(kind=kind, name=name, state="healthy")
    return Check(kind=kind, name=name, state="unhealthy", detail=status)
