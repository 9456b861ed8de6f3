"""Reads a snapshot: its resources by type and name, the settings, roles and alerts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

APPS = ("main", "mcp", "realm")
_APP_OF_PRINCIPAL = re.compile(r"format\('identities-\{0\}-\{1\}', (\d)")

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Role:
    """A role assignment: who (`main`, `mcp`, `realm` or an object id), which role, on what."""

    who: str
    role: str
    on: str


class Inventory:
    """The resources that a deployment would make, and its outputs."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot as bicep writes it."""
        self.resources: list[Resource] = snapshot["predictedResources"]
        self.outputs: dict[str, Any] = snapshot["outputs"]
        self.diagnostics: list[object] = snapshot["diagnostics"]

    def of(self, kind: str) -> dict[str, Resource]:
        """The resources of a type, by name."""
        return {item["name"]: item for item in self.resources if item["type"] == kind}

    def all_of(self, kind: str) -> list[Resource]:
        """The resources of a type whose names need not differ: extensions of other resources."""
        return [item for item in self.resources if item["type"] == kind]

    def scope_of(self, extension: Resource) -> str:
        """What an extension, such as a lock, is on: type and names, as in its id."""
        on: str = extension["id"].rpartition("/providers/")[0]
        return on.rpartition("/providers/")[2]

    def one(self, kind: str) -> Resource:
        """The only resource of a type."""
        (item,) = self.of(kind).values()
        return item

    def site(self, app: str) -> Resource:
        """The site of an app."""
        return self.of("Microsoft.Web/sites")[self.outputs["functionAppNames"][app]]

    def settings(self, app: str) -> dict[str, str]:
        """The settings of an app."""
        name = f"{self.outputs['functionAppNames'][app]}/appsettings"
        found: dict[str, str] = self.of("Microsoft.Web/sites/config")[name]["properties"]
        return found

    def roles(self) -> list[Role]:
        """All role assignments, sorted. A role's description reads `<role> on <what>`."""
        return sorted(
            Role(who=_who(item["properties"]["principalId"]), role=role, on=on)
            for item in self.resources
            if item["type"] == "Microsoft.Authorization/roleAssignments"
            for role, _, on in [item["properties"]["description"].partition(" on ")]
        )

    def roles_of(self, app: str) -> set[tuple[str, str]]:
        """What an app may do, each as (role, on what), without the unique ends of names."""
        return {(item.role, _plain(item.on)) for item in self.roles() if item.who == app}


def _who(principal: str) -> str:
    found = _APP_OF_PRINCIPAL.search(principal)
    return APPS[int(found[1])] if found else principal


def _plain(name: str) -> str:
    """Without the six characters that make a name unique."""
    if name.startswith("st"):
        account, slash, part = name.partition("/")
        return f"{account[:-6]}{slash}{part}"
    return re.sub(r"^(kv-.*)-\w{6}$", r"\1", name)
