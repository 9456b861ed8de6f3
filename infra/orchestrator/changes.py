"""What would change, as Azure's what-if tells it?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.exits import REFUSED, Halt

QUIET = frozenset({"nochange", "ignore"})
KNOWN = frozenset({"create", "delete", "deploy", "modify", "unsupported", "detach"}) | QUIET


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A change of one property; the path is dotted, places in lists are numbers."""

    path: str
    kind: str
    before: Any = None
    after: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happens to one resource. `kind` is in lower case, as in KNOWN."""

    kind: str
    resource_id: str
    edits: tuple[Edit, ...] = ()
    potential: bool = False
    reason: str = ""

    @property
    def type(self) -> str:
        """Such as Microsoft.ServiceBus/namespaces/queues."""
        space, parts = _parts(self.resource_id)
        return "/".join([space, *parts[0::2]])

    @property
    def name(self) -> str:
        """Such as sb-aos-dev/aos-requests."""
        return "/".join(_parts(self.resource_id)[1][1::2]) or self.resource_id


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """All changes, and what what-if could not look into."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...] = field(default=())


def read_group(document: Any) -> WhatIf:
    """Read `az deployment group what-if --no-pretty-print`.

    Raises Halt when it failed or is not of that shape: no answer is not "no changes".
    """
    if not isinstance(document, dict) or not isinstance(document.get("changes"), list):
        raise Halt(REFUSED, "what-if answered without a list of changes")
    if document.get("error") or str(document.get("status", "Succeeded")).lower() != "succeeded":
        raise Halt(REFUSED, f"what-if failed: {document.get('error') or document['status']}")
    potential = document.get("potentialChanges") or []
    return WhatIf(
        changes=(
            *(_change(it, potential=False) for it in document["changes"]),
            *(_change(it, potential=True) for it in potential),
        ),
        notes=_notes(document),
    )


def read_stack(document: Any) -> WhatIf:
    """Read `az stack-whatif group create --no-pretty-print`. Raises Halt as read_group does."""
    held = document.get("properties", document) if isinstance(document, dict) else {}
    listed = (held.get("changes") or {}).get("resourceChanges")
    if not isinstance(listed, list):
        raise Halt(REFUSED, "what-if of the stack answered without a list of changes")
    state = str(held.get("provisioningState", "succeeded")).lower()
    if held.get("error") or state != "succeeded":
        raise Halt(REFUSED, f"what-if of the stack failed: {held.get('error') or state}")
    return WhatIf(changes=tuple(_stack_change(it) for it in listed), notes=_notes(held))


def _change(item: Mapping[str, Any], *, potential: bool) -> Change:
    return Change(
        kind=str(item.get("changeType", "")).lower(),
        resource_id=str(item.get("resourceId") or item.get("symbolicName") or "?"),
        edits=tuple(_edits(item.get("delta") or [], "")),
        potential=potential,
        reason=str(item.get("unsupportedReason") or ""),
    )


def _stack_change(item: Mapping[str, Any]) -> Change:
    configured = item.get("resourceConfigurationChanges") or {}
    return Change(
        kind=str(item.get("changeType", "")).lower(),
        resource_id=str(item.get("id") or item.get("symbolicName") or "?"),
        edits=tuple(_edits(configured.get("delta") or [], "")),
        potential=str(item.get("changeCertainty", "")).lower() == "potential",
        reason=str(item.get("unsupportedReason") or ""),
    )


def _edits(delta: list[Mapping[str, Any]], prefix: str) -> Iterator[Edit]:
    """The leaves of a tree of property changes; what has no effect is left out."""
    for item in delta:
        kind = str(item.get("propertyChangeType") or item.get("changeType") or "").lower()
        path = ".".join(part for part in (prefix, str(item.get("path") or "")) if part)
        children = item.get("children") or []
        if children:
            yield from _edits(children, path)
        elif kind != "noeffect":
            yield Edit(path=path, kind=kind, before=item.get("before"), after=item.get("after"))


def _notes(document: Mapping[str, Any]) -> tuple[str, ...]:
    found = document.get("diagnostics") or []
    return tuple(f"{it.get('level')} {it.get('code')}: {it.get('message')}" for it in found)


def _parts(resource_id: str) -> tuple[str, list[str]]:
    _, found, rest = resource_id.rpartition("/providers/")
    if not found:
        return "Microsoft.Resources/resourceGroups", []
    space, *parts = rest.split("/")
    return space, parts
