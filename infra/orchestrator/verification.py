"""Checks that a deployment ended healthy. Entry point: `verify_deployment`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from infra.orchestrator.app_checks import AppChecks, read_repository_version
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
    "azureMLDisabledDueToRegion": "Azure ML was not deployed: the region does not offer it",
    "functionSkuDowngradedDueToRegion": (
        "the apps run on Consumption: the region does not offer Premium"
    ),
    "serviceBusSkuDowngradedDueToRegion": (
        "Service Bus is Standard: the region does not offer Premium"
    ),
    "networkDisabledDueToFunctionSku": (
        "there is no virtual network: the plan does not support one"
    ),
    "serviceBusPublicDueToSku": "Service Bus is public: Standard has no private endpoint",
    "stagingSlotDisabledDueToFunctionSku": (
        "there is no staging slot: the plan does not support one"
    ),
    "signInDisabledDueToMissingIds": (
        "users cannot sign in and callers need keys: the sign-in ids are missing"
    ),
    "budgetDisabledDueToMissingStartDate": "there is no budget: budgetStartDate is missing",
}


def verify_deployment(
    context: RunContext,
    request: Request,
    outputs: Mapping[str, Any],
    *,
    new_sites: Collection[str],
) -> list[Check]:
    """Check resources and apps until their states are final. `new_sites` did not exist before.

    Raises Halt (UNHEALTHY) that lists what is not healthy.
    """
    _warn(context, outputs)
    group, apps = request.resource_group, read_app_urls(outputs)
    version = read_repository_version(request.template.parent)
    app_checks = AppChecks(az=context.az, group=group, version=version, new_sites=new_sites)

    def check_all() -> list[Check]:
        found = check_resources(context.az, group)
        return found + [app_checks.check(*it) for it in apps]

    seen = wait_until_settled(
        context.clock,
        request.health_seconds,
        context.waits.health_poll_seconds,
        check_all,
        unsettled=list_unsettled_states(require_apps=request.require_apps),
    )
    seen += check_platform_health(context.az, group)
    context.journal.set(
        health=[{"kind": it.kind, "name": it.name, "state": it.state} for it in seen]
    )
    context.console.write_items(str(it) for it in seen if it.kind == "app" or it.state != "healthy")
    _advise_publishing(context, request, outputs, seen)
    bad = find_unhealthy(seen, require_apps=request.require_apps)
    if bad:
        raise Halt(
            UNHEALTHY,
            "not healthy:\n" + "\n".join(str(it) for it in bad),
            "see infra/README.md#troubleshooting; to go back: deploy.py rollback --to last",
        )
    context.console.write_item(f"{sum(it.state == 'healthy' for it in seen)} checks are healthy")
    return seen


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


def list_unsettled_states(*, require_apps: bool) -> set[State]:
    """The states that are checked again. With `require_apps` a new version may still be starting,
    so another version is checked again, too."""
    return {"waiting", "mismatch"} if require_apps else {"waiting"}


def read_app_urls(outputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Read the name and the URL of each app from the deployment's outputs."""
    names = outputs.get("functionAppNames") or {}
    urls = outputs.get("functionAppUrls") or {}
    return [(str(names[app]), str(urls[app])) for app in names if app in urls]


def describe_warnings(outputs: Mapping[str, Any]) -> list[str]:
    """Describe where the template deviated from its parameters."""
    raised = outputs.get("deploymentWarnings") or {}
    return [
        f"{name}: {WARNINGS.get(name, 'see the template')}" for name, on in raised.items() if on
    ]


def _warn(context: RunContext, outputs: Mapping[str, Any]) -> None:
    found = describe_warnings(outputs)
    context.journal.set(warnings=found)
    for line in found:
        context.console.warn(line)


def _advise_publishing(
    context: RunContext, request: Request, outputs: Mapping[str, Any], seen: list[Check]
) -> None:
    """Print the command that publishes the apps which have no code or another version."""
    unpublished = {it.name for it in seen if it.state in {"no code", "mismatch"}}
    names: Mapping[str, Any] = outputs.get("functionAppNames") or {}
    apps = [app for app, name in names.items() if name in unpublished]
    if apps:
        context.console.write_item(
            "these apps have no code or another version; publish them from the repository's root:"
        )
        context.console.write_item(
            f"  bash infra/publish.sh {request.resource_group} {' '.join(apps)}"
        )
