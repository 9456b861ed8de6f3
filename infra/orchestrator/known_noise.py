"""Lists the property changes that what-if reports although nothing changes. Entry point:
`find_noise`.

What-if compares the template with what Azure returns. Azure also returns defaults and read-only
properties that a template does not set, and what-if shows each as removed, at every run. An entry
holds only for the value that Azure itself sets: another value was set by somebody, and its removal
is a loss. Each entry names the public report that shows it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from infra.orchestrator.what_if import Edit

_REPORTS = "https://github.com/Azure/arm-template-whatif/issues"
_NEVER = "P10675199DT2H48M5.4775807S"


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """A property that what-if shows as removed.

    `kind` and `path` are in lower case and may hold `*`. `values` are Azure's own; empty means a
    property that only Azure can set, so that every value is noise.
    """

    kind: str
    path: str
    source: str
    values: tuple[Any, ...] = ()

    def matches(self, kind: str, edit: Edit) -> bool:
        """Whether this is the change."""
        if not (fnmatchcase(kind, self.kind) and fnmatchcase(edit.path.lower(), self.path)):
            return False
        return not self.values or _write(edit.before) in map(_write, self.values)


def _list_defaults(kinds: str, source: str, **values: Any) -> tuple[Noise, ...]:
    return tuple(
        Noise(kind=kinds, path=f"properties.{name.lower()}", values=(value,), source=source)
        for name, value in values.items()
    )


_LOGGING = {
    "delete": False,
    "read": False,
    "retentionPolicy": {"days": 0, "enabled": False},
    "version": "1.0",
    "write": False,
}
KNOWN_NOISE: tuple[Noise, ...] = (
    *_list_defaults(
        "microsoft.servicebus/namespaces/*",
        f"{_REPORTS}/303",
        autoDeleteOnIdle=_NEVER,
        deadLetteringOnMessageExpiration=False,
        defaultMessageTimeToLive=_NEVER,
        enableBatchedOperations=True,
        enableExpress=False,
        enablePartitioning=False,
        maxMessageSizeInKilobytes=256,
        requiresDuplicateDetection=False,
        requiresSession=False,
        status="Active",
        supportOrdering=True,
    ),
    Noise(
        kind="microsoft.servicebus/namespaces/*authorizationrules",
        path="location",
        source=f"{_REPORTS}/173",
    ),
    *_list_defaults(
        "microsoft.insights/components",
        f"{_REPORTS}/154",
        publicNetworkAccessForIngestion="Enabled",
        publicNetworkAccessForQuery="Enabled",
        Ver="v2",
    ),
    Noise(
        kind="microsoft.operationalinsights/workspaces",
        path="properties.createddate",
        source=f"{_REPORTS}/101",
    ),
    *_list_defaults(
        "microsoft.operationalinsights/workspaces",
        f"{_REPORTS}/101",
        features={
            "enableLogAccessUsingOnlyResourcePermissions": True,
            "legacy": 0,
            "searchVersion": 1,
        },
        **{
            "features.enableLogAccessUsingOnlyResourcePermissions": True,
            "features.legacy": 0,
            "features.searchVersion": 1,
        },
    ),
    *_list_defaults(
        "microsoft.storage/storageaccounts/queueservices", f"{_REPORTS}/288", logging=_LOGGING
    ),
)


def find_noise(kind: str, edit: Edit) -> Noise | None:
    """Find the entry for a change of a resource of this type, or None if the change counts."""
    if edit.kind != "delete":
        return None
    return next((it for it in KNOWN_NOISE if it.matches(kind.lower(), edit)), None)


def _write(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
