"""Checks that a deployment ended healthy. Entry point: `verify_deployment`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from infra.orchestrator.app_checks import AppChecks, read_repository_version
from infra.orchestrator.clock import Clock
from infra.orchestrator.console import Console
from infra.orchestrator.exit_codes import UNHEALTHY, Halt
from infra.orchestrator.resource_checks import (
    NOT_REQUIRED,
    Check,
    State,
    check_platform_health,
    check_resources,
    wait_until_settled,
)
from infra.orchestrator.run_context import Request, RunContext

WARNINGS = {
    "azureMLDisabledDueToRegion": "Azure ML was not deployed: not in this region",
    "functionSkuDowngradedDueToRegion": "the apps run on Consumption: no Premium in this region",
    "serviceBusSkuDowngradedDueToRegion": "Service Bus is Standard: no Premium in this region",
    "networkDisabledDueToFunctionSku": "there is no virtual network: the plan supports none",
    "serviceBusPublicDueToSku": "Service Bus is public: Standard has no private endpoint",
    "stagingSlotDisabledDueToFunctionSku": "there is no staging slot: the plan supports none",
    "signInDisabledDueToMissingIds": "users cannot sign in: ids are missing; callers need keys",
    "budgetDisabledDueToMissingStartDate": "there is no budget: budgetStartDate is missing",
}


def verify_deployment(
    context: RunContext, request: Request, outputs: Mapping[str, Any], *, new_sites: Collection[str]
) -> list[Check]:
    """Check resources and apps until their states are final. `new_sites` did not exist before.

    Raises Halt (UNHEALTHY) that lists what is not healthy.
    """
    console = context.console
    found = describe_warnings(outputs)
    context.journal.set(warnings=found)
    for line in found:
        console.warn(line)
    apps = AppChecks(
        az=context.az,
        group=request.resource_group,
        version=read_repository_version(request.template.parent),
        new_sites=new_sites,
    )
    seen = check_until_settled(
        *(apps, outputs, context.clock),
        seconds=request.health_seconds,
        poll_seconds=context.waits.health_poll_seconds,
        require_apps=request.require_apps,
    )
    seen += check_platform_health(context.az, request.resource_group)
    health = [{"kind": it.kind, "name": it.name, "state": it.state} for it in seen]
    context.journal.set(health=health)
    console.write_items(str(it) for it in seen if it.kind == "app" or it.state != "healthy")
    _advise_publishing(console, request, outputs, seen)
    bad = find_unhealthy(seen, require_apps=request.require_apps)
    if bad:
        raise Halt(
            UNHEALTHY,
            "not healthy:\n" + "\n".join(str(it) for it in bad),
            "see infra/README.md#troubleshooting; to go back: deploy.py rollback --to last",
        )
    console.write_item(f"{sum(it.state == 'healthy' for it in seen)} checks are healthy")
    return seen


def check_until_settled(
    app_checks: AppChecks,
    outputs: Mapping[str, Any],
    clock: Clock,
    *,
    seconds: float,
    poll_seconds: float,
    require_apps: bool,
) -> list[Check]:
    """Check the resources and the apps of a group until their states are final, or time is up.

    With `require_apps` another version of an app is checked again, because the new version may
    still be starting.
    """
    names, urls = outputs.get("functionAppNames") or {}, outputs.get("functionAppUrls") or {}
    apps = [(str(names[app]), str(urls[app])) for app in names if app in urls]

    def check_all() -> list[Check]:
        found = check_resources(app_checks.az, app_checks.group)
        return found + [app_checks.check(*it) for it in apps]

    unsettled: set[State] = {"waiting", "mismatch"} if require_apps else {"waiting"}
    return wait_until_settled(clock, seconds, poll_seconds, check_all, unsettled=unsettled)


def find_unhealthy(seen: list[Check], *, require_apps: bool) -> list[Check]:
    """The checks that fail the run.

    With `require_apps` these include apps that have no code, run another version, or cannot be
    asked.
    """
    return [
        it
        for it in seen
        if it.state == "unhealthy"
        or (require_apps and it.kind == "app" and it.state in NOT_REQUIRED)
    ]


def describe_warnings(outputs: Mapping[str, Any]) -> list[str]:
    """Describe where the template deviated from its parameters."""
    raised = outputs.get("deploymentWarnings") or {}
    return [
        f"{name}: {WARNINGS.get(name, 'see the template')}" for name, on in raised.items() if on
    ]


def _advise_publishing(
    console: Console, request: Request, outputs: Mapping[str, Any], seen: list[Check]
) -> None:
    """Print the command that publishes the apps which have no code or another version."""
    unpublished = {it.name for it in seen if it.state in {"no code", "mismatch"}}
    names: Mapping[str, Any] = outputs.get("functionAppNames") or {}
    apps = " ".join(app for app, name in names.items() if name in unpublished)
    if apps:
        console.write_item("publish the apps without code or of another version, from the root:")
        console.write_item(f"  bash infra/publish.sh {request.resource_group} {apps}")
