"""What is shown and kept of a what-if before anybody says yes?

Values of settings are not shown and not kept: some are not for every reader of a pipeline's log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.changes import QUIET, Change, WhatIf
from orchestrator.destructive import Loss, losses_in

_EDITS_SHOWN = 12
_GROUPS = (
    ("CREATE", frozenset({"create"})),
    ("MODIFY", frozenset({"modify", "deploy"})),
    ("DELETE", frozenset({"delete"})),
    ("DETACH", frozenset({"detach"})),
    ("UNKNOWN TO WHAT-IF", frozenset({"unsupported"})),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The changes and the losses among them."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    losses: tuple[Loss, ...]

    def created(self, kind: str) -> list[str]:
        """Names of the resources of a type that would be new."""
        return [
            it.name
            for it in self.changes
            if it.kind == "create" and it.type.lower() == kind.lower()
        ]

    def lines(self) -> Iterator[str]:
        """The plan for people: grouped, counted, named."""
        for title, kinds in _GROUPS:
            found = [it for it in self.changes if it.kind in kinds]
            if found or title in {"CREATE", "MODIFY", "DELETE"}:
                yield f"{title} ({len(found)})"
            for change in sorted(found, key=lambda it: (it.type, it.name)):
                yield from _lines(change)
        quiet = sum(it.kind in QUIET for it in self.changes)
        yield f"unchanged or not in the template: {quiet}"
        yield from (f"note: {note}" for note in self.notes)
        if self.losses:
            yield f"DESTRUCTIVE ({len(self.losses)})"
            yield from (f"  ! {loss}" for loss in self.losses)

    def facts(self) -> dict[str, Any]:
        """The plan for the audit record."""
        return {
            "counts": {
                title: sum(it.kind in kinds for it in self.changes) for title, kinds in _GROUPS
            },
            "changes": [
                {
                    "change": it.kind,
                    "id": it.resource_id,
                    "properties": [f"{edit.kind} {edit.path}" for edit in it.edits],
                }
                for it in self.changes
                if it.kind not in QUIET
            ],
            "destructive": [str(it) for it in self.losses],
            "notes": list(self.notes),
        }

    def as_file(self) -> str:
        """The text of the saved plan."""
        return json.dumps(self.facts(), indent=2) + "\n"


def plan_of(seen: WhatIf) -> Plan:
    """The plan of a what-if."""
    return Plan(changes=seen.changes, notes=seen.notes, losses=losses_in(seen.changes))


def _lines(change: Change) -> Iterator[str]:
    maybe = " (possibly)" if change.potential else ""
    why = f": {change.reason}" if change.reason else ""
    yield f"  {change.type} {change.name}{maybe}{why}"
    for edit in change.edits[:_EDITS_SHOWN]:
        yield f"      {edit.kind} {edit.path}"
    if len(change.edits) > _EDITS_SHOWN:
        yield f"      and {len(change.edits) - _EDITS_SHOWN} more properties"
