"""Decides whether a deployment ended in something healthy. Entry point: `verify`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from orchestrator import checks
from orchestrator.apps import AppChecks, version_beside
from orchestrator.checks import Check, State
from orchestrator.exits import UNHEALTHY, Halt
from orchestrator.kit import Kit
from orchestrator.request import Request

WARNINGS = {
    "azureMLDisabledDueToRegion": "Azure ML was not deployed: the region lacks it",
    "functionSkuDowngradedDueToRegion": "the apps run on Consumption: the region lacks Premium",
    "serviceBusSkuDowngradedDueToRegion": "Service Bus is Standard: the region lacks Premium",
    "networkDisabledDueToFunctionSku": "there is no virtual network: the plan has none",
    "serviceBusPublicDueToSku": "Service Bus is public: Standard has no private endpoint",
    "stagingSlotDisabledDueToFunctionSku": "there is no staging slot: the plan has none",
    "signInDisabledDueToMissingIds": "nobody signs in, callers need keys: ids are missing",
    "budgetDisabledDueToMissingStartDate": "there is no budget: budgetStartDate is missing",
}


def verify(
    kit: Kit, request: Request, outputs: Mapping[str, Any], *, made: Collection[str]
) -> list[Check]:
    """Look until everything has settled; `made` names the sites that are new.

    Raises Halt (UNHEALTHY) that names what has not.
    """
    _warn(kit, outputs)
    group, apps = request.resource_group, app_names(outputs)
    version = version_beside(request.template.parent)
    app_checks = AppChecks(az=kit.az, group=group, version=version, made=made)

    def look() -> list[Check]:
        found = checks.resources(kit.az, group)
        return found + [app_checks.check(*it) for it in apps]

    seen = checks.until_settled(
        kit.clock,
        request.health_seconds,
        kit.patience.health_poll_seconds,
        look,
        unsettled=unsettled(require_apps=request.require_apps),
    )
    seen += checks.platform(kit.az, group)
    kit.journal.set(health=[{"kind": it.kind, "name": it.name, "state": it.state} for it in seen])
    kit.voice.items(str(it) for it in seen if it.kind == "app" or it.state != "healthy")
    _publish(kit, request, outputs, seen)
    bad = unhealthy(seen, require_apps=request.require_apps)
    if bad:
        raise Halt(
            UNHEALTHY,
            "not healthy:\n" + "\n".join(str(it) for it in bad),
            "infra/README.md#troubleshooting; to go back: deploy.py rollback --to last",
        )
    kit.voice.item(f"{sum(it.state == 'healthy' for it in seen)} checks are healthy")
    return seen


def unhealthy(seen: list[Check], *, require_apps: bool) -> list[Check]:
    """What fails the run: the unhealthy and, where apps must run, those that show no health or
    another version."""
    return [
        it
        for it in seen
        if it.state == "unhealthy"
        or (require_apps and it.kind == "app" and it.state in checks.NOT_REQUIRED)
    ]


def unsettled(*, require_apps: bool) -> set[State]:
    """What is looked at again: where apps must run, a new version may still be on its way."""
    return {"waiting", "mismatch"} if require_apps else {"waiting"}


def app_names(outputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and address of each app, from the outputs: names are never made up here."""
    names = outputs.get("functionAppNames") or {}
    urls = outputs.get("functionAppUrls") or {}
    return [(str(names[app]), str(urls[app])) for app in names if app in urls]


def warnings_in(outputs: Mapping[str, Any]) -> list[str]:
    """What the template did otherwise than it was asked, in words."""
    raised = outputs.get("deploymentWarnings") or {}
    return [
        f"{name}: {WARNINGS.get(name, 'see the template')}" for name, on in raised.items() if on
    ]


def _warn(kit: Kit, outputs: Mapping[str, Any]) -> None:
    found = warnings_in(outputs)
    kit.journal.set(warnings=found)
    for line in found:
        kit.voice.warn(line)


def _publish(kit: Kit, request: Request, outputs: Mapping[str, Any], seen: list[Check]) -> None:
    bare = {it.name for it in seen if it.state in {"no code", "mismatch"}}
    names: Mapping[str, Any] = outputs.get("functionAppNames") or {}
    apps = [app for app, name in names.items() if name in bare]
    if apps:
        kit.voice.item("no code yet, or another version; publish it, from the repository's root:")
        kit.voice.item(f"  bash infra/publish.sh {request.resource_group} {' '.join(apps)}")
