"""Reads the changes that Azure's what-if prints. Entry point: `read_group_what_if`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.orchestrator.exit_codes import REFUSED, Halt

QUIET = frozenset({"nochange", "ignore"})
KNOWN = frozenset({"create", "delete", "deploy", "modify", "unsupported", "detach"}) | QUIET


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A change of one property. The path is dotted; a number is a position in a list."""

    path: str
    kind: str
    before: Any = None
    after: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happens to one resource. `kind` is one of KNOWN, or a new kind of what-if."""

    kind: str
    resource_id: str
    edits: tuple[Edit, ...] = ()
    potential: bool = False
    reason: str = ""

    @property
    def type(self) -> str:
        """Such as Microsoft.ServiceBus/namespaces/queues."""
        space, parts = _split_id(self.resource_id)
        return "/".join([space, *parts[0::2]])

    @property
    def name(self) -> str:
        """Such as sb-aos-dev/aos-requests."""
        return "/".join(_split_id(self.resource_id)[1][1::2]) or self.resource_id


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """All changes, and the notes of what-if about what it could not evaluate."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...] = field(default=())


def read_group_what_if(document: Any) -> WhatIf:
    """Read the output of `az deployment group what-if --no-pretty-print`.

    Raises Halt when what-if failed or the output has another shape.
    """
    if not isinstance(document, dict) or not isinstance(document.get("changes"), list):
        raise Halt(REFUSED, "the output of what-if has no list of changes")
    if document.get("error") or str(document.get("status", "Succeeded")).lower() != "succeeded":
        raise Halt(REFUSED, f"what-if failed: {document.get('error') or document['status']}")
    potential = document.get("potentialChanges") or []
    return WhatIf(
        changes=(
            *(_read_change(it, potential=False) for it in document["changes"]),
            *(_read_change(it, potential=True) for it in potential),
        ),
        notes=_read_notes(document),
    )


def read_stack_what_if(document: Any) -> WhatIf:
    """Read the output of `az stack-whatif group create --no-pretty-print`.

    Raises Halt when what-if failed or the output has another shape.
    """
    held = document.get("properties", document) if isinstance(document, dict) else {}
    listed = (held.get("changes") or {}).get("resourceChanges")
    if not isinstance(listed, list):
        raise Halt(REFUSED, "the output of what-if of the stack has no list of changes")
    state = str(held.get("provisioningState", "succeeded")).lower()
    if held.get("error") or state != "succeeded":
        raise Halt(REFUSED, f"what-if of the stack failed: {held.get('error') or state}")
    return WhatIf(changes=tuple(_read_stack_change(it) for it in listed), notes=_read_notes(held))


def _read_change(item: Mapping[str, Any], *, potential: bool) -> Change:
    return Change(
        kind=str(item.get("changeType", "")).lower(),
        resource_id=str(item.get("resourceId") or item.get("symbolicName") or "?"),
        edits=tuple(_read_edits(item.get("delta") or [], "")),
        potential=potential,
        reason=str(item.get("unsupportedReason") or ""),
    )


def _read_stack_change(item: Mapping[str, Any]) -> Change:
    configured = item.get("resourceConfigurationChanges") or {}
    return Change(
        kind=str(item.get("changeType", "")).lower(),
        resource_id=str(item.get("id") or item.get("symbolicName") or "?"),
        edits=tuple(_read_edits(configured.get("delta") or [], "")),
        potential=str(item.get("changeCertainty", "")).lower() == "potential",
        reason=str(item.get("unsupportedReason") or ""),
    )


def _read_edits(delta: list[Mapping[str, Any]], prefix: str) -> Iterator[Edit]:
    """Read the leaves of the tree of property changes, without those that have no effect."""
    for item in delta:
        kind = str(item.get("propertyChangeType") or item.get("changeType") or "").lower()
        path = ".".join(part for part in (prefix, str(item.get("path") or "")) if part)
        children = item.get("children") or []
        if children:
            yield from _read_edits(children, path)
        elif kind != "noeffect":
            yield Edit(path=path, kind=kind, before=item.get("before"), after=item.get("after"))


def _read_notes(document: Mapping[str, Any]) -> tuple[str, ...]:
    found = document.get("diagnostics") or []
    return tuple(f"{it.get('level')} {it.get('code')}: {it.get('message')}" for it in found)


def _split_id(resource_id: str) -> tuple[str, list[str]]:
    _, found, rest = resource_id.rpartition("/providers/")
    if not found:
        return "Microsoft.Resources/resourceGroups", []
    space, *parts = rest.split("/")
    return space, parts
