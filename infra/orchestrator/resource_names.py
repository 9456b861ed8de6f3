"""Checks that globally unique names are free. Entry points: `check_names`, `recover_vaults`."""

from __future__ import annotations

import json
from typing import Any

from infra.orchestrator.azure_errors import classify_answer
from infra.orchestrator.exit_codes import REFUSED, Halt
from infra.orchestrator.parameters import normalize_region
from infra.orchestrator.plan import Plan
from infra.orchestrator.run_context import Request, RunContext

# Resource type: the path and the API version of the call that checks a name.
_NAME_CHECKS = {
    "Microsoft.Web/sites": ("Microsoft.Web/checknameavailability", "2025-03-01"),
    "Microsoft.Storage/storageAccounts": ("Microsoft.Storage/checkNameAvailability", "2025-06-01"),
    "Microsoft.KeyVault/vaults": ("Microsoft.KeyVault/checkNameAvailability", "2025-05-01"),
    "Microsoft.ServiceBus/namespaces": ("Microsoft.ServiceBus/CheckNameAvailability", "2024-01-01"),
}
_VAULT = "Microsoft.KeyVault/vaults"


def check_names(context: RunContext, request: Request, plan: Plan) -> tuple[str, ...]:
    """Check every new name. Return the deleted vaults that must be recovered.

    Raises Halt that lists the names that are taken.
    """
    created = [(kind, name) for kind in _NAME_CHECKS for name in plan.find_created(kind)]
    taken = {
        (kind, name): reason
        for kind, name in created
        if (reason := _find_conflict(context, kind, name))
    }
    if not taken:
        return ()
    deleted = _list_deleted_vaults(context, request)
    recover = tuple(name for kind, name in taken if kind == _VAULT and name.lower() in deleted)
    lost = {name: why for (_, name), why in taken.items() if name not in recover}
    if lost:
        raise Halt(
            REFUSED,
            "names are taken: " + "; ".join(f"{name} ({why})" for name, why in lost.items()),
            "set nameSuffix in the parameter file (prod-dr.bicepparam has one)",
        )
    for name in recover:
        context.console.warn(f"the vault {name} was deleted; it will be recovered with its secrets")
    return recover


def recover_vaults(context: RunContext, vaults: tuple[str, ...]) -> None:
    """Recover deleted vaults. Raises Halt."""
    for name in vaults:
        answer = context.az.run("keyvault", "recover", "--name", name, "-o", "json")
        if not answer.succeeded:
            raise Halt(
                REFUSED, classify_answer(answer).reason, f"az keyvault recover --name {name}"
            )
        context.console.write_item(f"recovered the vault {name}")
        context.journal.add("recovered_vaults", name)


def _find_conflict(context: RunContext, kind: str, name: str) -> str:
    path, version = _NAME_CHECKS[kind]
    # az replaces {subscriptionId} and puts the address of the cloud before the path.
    answer = context.az.run(
        *("rest", "--method", "post", "--uri"),
        f"/subscriptions/{{subscriptionId}}/providers/{path}?api-version={version}",
        *("--body", json.dumps({"name": name, "type": kind}), "-o", "json"),
    )
    if not answer.succeeded:
        context.console.warn(
            f"the name {name} could not be checked: {classify_answer(answer).reason}"
        )
        return ""
    found: dict[str, Any] = answer.parse_json()
    return "" if found.get("nameAvailable", True) else str(found.get("reason") or "taken")


def _list_deleted_vaults(context: RunContext, request: Request) -> set[str]:
    """List the deleted vaults of this group and region. Others cannot be recovered into them."""
    answer = context.az.run("keyvault", "list-deleted", "--resource-type", "vault", "-o", "json")
    if not answer.succeeded:
        return set()
    group = f"/resourcegroups/{request.resource_group}/".lower()
    return {
        str(it["name"]).lower()
        for it in answer.parse_json()
        if group in str(it["properties"]["vaultId"]).lower()
        and normalize_region(it["properties"].get("location", ""))
        == normalize_region(request.location)
    }
