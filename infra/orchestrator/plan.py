"""Formats the changes of a what-if for people and for the record. Entry point: `make_plan`.

Values of settings are neither shown nor recorded, because not every reader of a pipeline's log
may see them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from infra.orchestrator.destructive_changes import Loss, find_losses
from infra.orchestrator.known_noise import find_noise
from infra.orchestrator.what_if import QUIET, Change, WhatIf

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
    """The changes, and what they lose."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    losses: tuple[Loss, ...]

    def find_created(self, kind: str) -> list[str]:
        """Find the names of the new resources of a type."""
        return [
            it.name
            for it in self.changes
            if it.kind == "create" and it.type.lower() == kind.lower()
        ]

    def format_lines(self) -> Iterator[str]:
        """Format the plan as lines: groups, counts and names."""
        for title, kinds in _GROUPS:
            found = [it for it in self.changes if it.kind in kinds]
            if found or title in {"CREATE", "MODIFY", "DELETE"}:
                yield f"{title} ({len(found)})"
            for change in sorted(found, key=lambda it: (it.type, it.name)):
                yield from _format_change(change)
        quiet = sum(it.kind in QUIET for it in self.changes)
        yield f"unchanged or not in the template: {quiet}"
        yield from (f"note: {note}" for note in self.notes)
        if self.losses:
            yield f"DESTRUCTIVE ({len(self.losses)})"
            yield from (f"  ! {loss}" for loss in self.losses)

    def to_record(self) -> dict[str, Any]:
        """Return the plan for the audit record."""
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

    def format_file(self) -> str:
        """Format the plan as a JSON file."""
        return json.dumps(self.to_record(), indent=2) + "\n"


def make_plan(seen: WhatIf) -> Plan:
    """Make the plan of a what-if."""
    return Plan(changes=seen.changes, notes=seen.notes, losses=find_losses(seen.changes))


def _format_change(change: Change) -> Iterator[str]:
    maybe = " (possibly)" if change.potential else ""
    why = f": {change.reason}" if change.reason else ""
    yield f"  {change.type} {change.name}{maybe}{why}"
    for edit in change.edits[:_EDITS_SHOWN]:
        noise = find_noise(change.type, edit)
        why = f" (known noise of what-if: {noise.source})" if noise else ""
        yield f"      {edit.kind} {edit.path}{why}"
    if len(change.edits) > _EDITS_SHOWN:
        yield f"      and {len(change.edits) - _EDITS_SHOWN} more properties"
