"""Are the worldwide names that a deployment needs free, or held by a deleted resource?"""

from __future__ import annotations

import json
from typing import Any

from orchestrator.exits import REFUSED, Halt
from orchestrator.failures import failure_of
from orchestrator.kit import Kit
from orchestrator.plan import Plan
from orchestrator.preflight import plain
from orchestrator.request import Request

# Type of resource: the provider's path that tells, its API version, the type that it wants to hear.
_ASKED = {
    "Microsoft.Web/sites": ("Microsoft.Web/checknameavailability", "2025-03-01"),
    "Microsoft.Storage/storageAccounts": ("Microsoft.Storage/checkNameAvailability", "2025-06-01"),
    "Microsoft.KeyVault/vaults": ("Microsoft.KeyVault/checkNameAvailability", "2025-05-01"),
    "Microsoft.ServiceBus/namespaces": ("Microsoft.ServiceBus/CheckNameAvailability", "2024-01-01"),
}
_VAULT = "Microsoft.KeyVault/vaults"


def check(kit: Kit, request: Request, plan: Plan) -> tuple[str, ...]:
    """Ask for every name that would be new. Returns the deleted vaults that must be recovered.

    Raises Halt that names what is taken.
    """
    created = [(kind, name) for kind in _ASKED for name in plan.created(kind)]
    taken = {(kind, name): reason for kind, name in created if (reason := _taken(kit, kind, name))}
    if not taken:
        return ()
    deleted = _deleted_here(kit, request)
    recover = tuple(name for kind, name in taken if kind == _VAULT and name.lower() in deleted)
    lost = {name: why for (_, name), why in taken.items() if name not in recover}
    if lost:
        raise Halt(
            REFUSED,
            "names are taken: " + "; ".join(f"{name} ({why})" for name, why in lost.items()),
            "set nameSuffix in the parameter file (prod-dr.bicepparam has one)",
        )
    for name in recover:
        kit.voice.warn(f"the vault {name} was deleted; it will be recovered with its secrets")
    return recover


def recover(kit: Kit, vaults: tuple[str, ...]) -> None:
    """Take deleted vaults back. Raises Halt."""
    for name in vaults:
        answer = kit.az.ask("keyvault", "recover", "--name", name, "-o", "json")
        if not answer.ok:
            raise Halt(REFUSED, failure_of(answer).reason, f"az keyvault recover --name {name}")
        kit.voice.item(f"recovered the vault {name}")
        kit.journal.add("recovered_vaults", name)


def _taken(kit: Kit, kind: str, name: str) -> str:
    path, version = _ASKED[kind]
    # az fills in {subscriptionId} and puts the cloud's own address before it.
    answer = kit.az.ask(
        *("rest", "--method", "post", "--uri"),
        f"/subscriptions/{{subscriptionId}}/providers/{path}?api-version={version}",
        *("--body", json.dumps({"name": name, "type": kind}), "-o", "json"),
    )
    if not answer.ok:
        kit.voice.warn(f"whether {name} is free could not be asked: {failure_of(answer).reason}")
        return ""
    said: dict[str, Any] = answer.value()
    return "" if said.get("nameAvailable", True) else str(said.get("reason") or "taken")


def _deleted_here(kit: Kit, request: Request) -> set[str]:
    """Deleted vaults that were in this group and region: elsewhere recovering would not help."""
    answer = kit.az.ask("keyvault", "list-deleted", "--resource-type", "vault", "-o", "json")
    if not answer.ok:
        return set()
    group = f"/resourcegroups/{request.resource_group}/".lower()
    return {
        str(it["name"]).lower()
        for it in answer.value()
        if group in str(it["properties"]["vaultId"]).lower()
        and plain(it["properties"].get("location", "")) == plain(request.location)
    }
