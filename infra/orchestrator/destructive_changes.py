"""Finds the changes that a person must confirm. Entry point: `find_losses`.

An incremental deployment does not delete resources, but it can lose data or service. It may remove
a property of a stateful resource or an application setting, choose a smaller SKU or a shorter
retention, or switch off a protection. It may also change a property that Azure cannot change in
place: somebody must then delete the resource.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from infra.orchestrator.known_noise import find_noise
from infra.orchestrator.what_if import KNOWN, QUIET, Change, Edit

_STATEFUL = (
    *("microsoft.containerregistry/", "microsoft.dataprotection/", "microsoft.documentdb/"),
    *("microsoft.insights/components", "microsoft.keyvault/"),
    *("microsoft.machinelearningservices/", "microsoft.operationalinsights/"),
    *("microsoft.servicebus/", "microsoft.storage/"),
)
_FIXED = frozenset(
    {
        *("enablepartitioning", "ishnsenabled", "kind", "location"),
        *("premiummessagingpartitions", "requiresduplicatedetection", "requiressession"),
        *("reserved", "tenantid"),
    }
)
_RANKS = {
    "microsoft.web/serverfarms": ("Y1", "FC1", "EP1", "EP2", "EP3"),
    "microsoft.servicebus/namespaces": ("Basic", "Standard", "Premium"),
    "microsoft.storage/storageaccounts": (
        *("Standard_LRS", "Standard_ZRS", "Standard_GRS"),
        *("Standard_RAGRS", "Standard_GZRS", "Standard_RAGZRS"),
    ),
    "microsoft.containerregistry/registries": ("Basic", "Standard", "Premium"),
}
_AMOUNTS = frozenset(
    {"capacity", "days", "maxsizeinmegabytes", "retentionindays", "softdeleteretentionindays"}
)
_PROTECTIONS = frozenset(
    {"enabled", "enablepurgeprotection", "enablesoftdelete", "isversioningenabled"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One change that loses data, service or protection."""

    resource: str
    what: str

    def __str__(self) -> str:
        """The resource and what it loses."""
        return f"{self.resource}: {self.what}"


def find_losses(changes: tuple[Change, ...]) -> tuple[Loss, ...]:
    """Find the losses in the order of the changes."""
    return tuple(
        Loss(
            resource=f"{change.type} {change.name}", what=what + (" (possibly)" * change.potential)
        )
        for change in changes
        if change.kind not in QUIET
        for what in _describe_losses(change)
    )


def _describe_losses(change: Change) -> Iterator[str]:
    if change.kind not in KNOWN:
        yield f"deploy.py does not know the change type {change.kind!r} of what-if"
    elif change.kind == "delete":
        yield "is deleted"
    else:
        for edit in change.edits:
            loss = _describe_loss(change.type.lower(), edit)
            if loss:
                yield loss


def _describe_loss(kind: str, edit: Edit) -> str:
    path = edit.path.lower()
    if path == "tags" or path.startswith("tags.") or find_noise(kind, edit):
        return ""
    if edit.kind == "delete":
        return _describe_removal(kind, path, edit)
    if edit.kind != "modify":
        return ""
    return _describe_reduction(kind, path, edit)


def _describe_removal(kind: str, path: str, edit: Edit) -> str:
    if kind == "microsoft.web/sites/config" or "appsettings" in path:
        return f"the setting {edit.path} is removed"
    if kind.startswith(_STATEFUL):
        return f"the property {edit.path} is removed"
    return ""


def _describe_reduction(kind: str, path: str, edit: Edit) -> str:
    last = path.rpartition(".")[2]
    shown = f"{edit.path} {edit.before} -> {edit.after}"
    if last in _FIXED and (kind.startswith(_STATEFUL) or kind.startswith("microsoft.web/")):
        return f"{shown}: Azure cannot change this in place"
    if path in {"sku.name", "sku.tier"}:
        return _describe_smaller_sku(kind, edit, shown)
    numbers = isinstance(edit.before, (int, float)) and isinstance(edit.after, (int, float))
    if last in _AMOUNTS and numbers and edit.after < edit.before:
        return f"{shown}: a smaller value"
    if last in _PROTECTIONS and kind.startswith(_STATEFUL) and edit.before is True:
        return f"{shown}: a protection is switched off"
    return ""


def _describe_smaller_sku(kind: str, edit: Edit, shown: str) -> str:
    if kind == "microsoft.servicebus/namespaces":
        return f"{shown}: Azure cannot change the tier of a namespace in place"
    ranks = [name.lower() for name in _RANKS.get(kind, ())]
    before, after = str(edit.before).lower(), str(edit.after).lower()
    if kind == "microsoft.web/serverfarms" and "fc1" in {before, after}:
        return f"{shown}: Azure cannot change a plan to or from Flex Consumption in place"
    if before in ranks and after in ranks and ranks.index(after) < ranks.index(before):
        return f"{shown}: a smaller SKU"
    return ""
