"""Which deployment stands in a resource group, and are its bus and its storage healthy?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.az import Answer, Az
from orchestrator.checks import Check
from orchestrator.exits import ENVIRONMENT, USAGE, Halt
from orchestrator.failures import failure_of
from orchestrator.history import whole_deployments

CONTAINERS = ("aos-config", "aos-data", "aos-logs")
QUEUES = ("aos-requests", "aos-main", "aos-realm", "aos-mcp")
TOPICS = ("agent-events", "system-events")


def outputs_of(az: Az, group: str) -> dict[str, Any]:
    """The outputs of the newest deployment of the main template that succeeded, or of the stack.

    Names come from here, for a suffix may be in them. Raises Halt (USAGE, ENVIRONMENT).
    """
    listed = _asked(az.ask("deployment", "group", "list", "--resource-group", group, "-o", "json"))
    for it in whole_deployments(listed.value()):
        if it["properties"].get("provisioningState") == "Succeeded":
            outputs = it["properties"]["outputs"]
            return {name: output.get("value") for name, output in outputs.items()}
    raise Halt(USAGE, f"nothing of AOS was deployed to {group}", "is --resource-group right?")


def bus(az: Az, group: str, namespace: str) -> list[Check]:
    """The namespace, and the queues and topics that the apps need."""
    named = ("--resource-group", group, "--namespace-name", namespace, "-o", "json")
    return [
        *_namespace(az, group, namespace),
        *_entities("queue", az.ask("servicebus", "queue", "list", *named), QUEUES),
        *_entities("topic", az.ask("servicebus", "topic", "list", *named), TOPICS),
    ]


def storage(az: Az, group: str, account: str) -> list[Check]:
    """The account of the state and its containers, asked where no data right is needed."""
    shown = az.ask("storage", "account", "show", "-g", group, "--name", account, "-o", "json")
    found = az.ask("storage", "container-rm", "list", "--storage-account", account, "-o", "json")
    return [
        _provisioned("storage account", account, shown),
        *_entities("container", found, CONTAINERS),
    ]


def _namespace(az: Az, group: str, name: str) -> list[Check]:
    shown = az.ask("servicebus", "namespace", "show", "-g", group, "--name", name, "-o", "json")
    return [_provisioned("Service Bus", name, shown)]


def _provisioned(kind: str, name: str, answer: Answer) -> Check:
    if not answer.ok:
        return Check(kind=kind, name=name, state="unhealthy", detail=failure_of(answer).reason)
    state = str(answer.value().get("provisioningState"))
    if state == "Succeeded":
        return Check(kind=kind, name=name, state="healthy")
    return Check(kind=kind, name=name, state="unhealthy", detail=state)


def _entities(kind: str, answer: Answer, needed: tuple[str, ...]) -> list[Check]:
    if not answer.ok:
        detail = failure_of(answer).reason
        return [Check(kind=f"{kind}s", name="", state="unhealthy", detail=detail)]
    found: dict[str, Mapping[str, Any]] = {str(it["name"]): it for it in answer.value()}
    return [_entity(kind, name, found.get(name)) for name in dict.fromkeys([*needed, *found])]


def _entity(kind: str, name: str, found: Mapping[str, Any] | None) -> Check:
    if found is None:
        return Check(kind=kind, name=name, state="unhealthy", detail="is missing")
    status = str(found.get("status", "Active"))
    if status == "Active":
        return Check(kind=kind, name=name, state="healthy")
    return Check(kind=kind, name=name, state="unhealthy", detail=status)


def _asked(answer: Answer) -> Answer:
    if answer.ok:
        return answer
    failure = failure_of(answer)
    raise Halt(ENVIRONMENT if failure.environmental else USAGE, failure.reason, failure.advice)
