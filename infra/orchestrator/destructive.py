"""Which changes lose something, so that a person must say yes?

An incremental deployment deletes no resource, so looking for Delete alone finds little. What loses
data or service there: a property that is taken away from what holds state, an application setting
that is removed, a smaller SKU, a shorter retention, a protection that is switched off, and what
Azure refuses to change in place, which is usually answered by deleting the resource.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.changes import KNOWN, QUIET, Change, Edit

_STATEFUL = (
    "microsoft.containerregistry/",
    "microsoft.dataprotection/",
    "microsoft.documentdb/",
    "microsoft.insights/components",
    "microsoft.keyvault/",
    "microsoft.machinelearningservices/",
    "microsoft.operationalinsights/",
    "microsoft.servicebus/",
    "microsoft.storage/",
)
_FIXED = frozenset(
    {
        "enablepartitioning",
        "ishnsenabled",
        "kind",
        "location",
        "premiummessagingpartitions",
        "requiresduplicatedetection",
        "requiressession",
        "reserved",
        "tenantid",
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
    """One thing that would be lost."""

    resource: str
    what: str

    def __str__(self) -> str:
        """For people."""
        return f"{self.resource}: {self.what}"


def losses_in(changes: tuple[Change, ...]) -> tuple[Loss, ...]:
    """Everything that must be confirmed, in the order of the changes."""
    return tuple(
        Loss(
            resource=f"{change.type} {change.name}", what=what + (" (possibly)" * change.potential)
        )
        for change in changes
        if change.kind not in QUIET
        for what in _losses(change)
    )


def _losses(change: Change) -> Iterator[str]:
    if change.kind not in KNOWN:
        yield f"what-if says {change.kind or 'nothing'!r}, which is unknown here"
    elif change.kind == "delete":
        yield "is deleted"
    else:
        for edit in change.edits:
            loss = _loss(change.type.lower(), edit)
            if loss:
                yield loss


def _loss(kind: str, edit: Edit) -> str:
    path = edit.path.lower()
    if path == "tags" or path.startswith("tags."):
        return ""
    if edit.kind == "delete":
        return _removal(kind, path, edit)
    if edit.kind != "modify":
        return ""
    return _lessening(kind, path, edit)


def _removal(kind: str, path: str, edit: Edit) -> str:
    if kind == "microsoft.web/sites/config" or "appsettings" in path:
        return f"the setting {edit.path} is removed"
    if kind.startswith(_STATEFUL):
        return f"the property {edit.path} is removed"
    return ""


def _lessening(kind: str, path: str, edit: Edit) -> str:
    last = path.rpartition(".")[2]
    shown = f"{edit.path} {edit.before} -> {edit.after}"
    if last in _FIXED and (kind.startswith(_STATEFUL) or kind.startswith("microsoft.web/")):
        return f"{shown}: Azure does not change this in place"
    if path in {"sku.name", "sku.tier"}:
        return _smaller_sku(kind, edit, shown)
    numbers = isinstance(edit.before, (int, float)) and isinstance(edit.after, (int, float))
    if last in _AMOUNTS and numbers and edit.after < edit.before:
        return f"{shown}: less is kept"
    if last in _PROTECTIONS and kind.startswith(_STATEFUL) and edit.before is True:
        return f"{shown}: a protection is switched off"
    return ""


def _smaller_sku(kind: str, edit: Edit, shown: str) -> str:
    if kind == "microsoft.servicebus/namespaces":
        return f"{shown}: a namespace does not change its tier in place"
    ranks = [name.lower() for name in _RANKS.get(kind, ())]
    before, after = str(edit.before).lower(), str(edit.after).lower()
    if kind == "microsoft.web/serverfarms" and "fc1" in {before, after}:
        return f"{shown}: a plan does not become or cease to be Flex Consumption in place"
    if before in ranks and after in ranks and ranks.index(after) < ranks.index(before):
        return f"{shown}: a smaller SKU"
    return ""
