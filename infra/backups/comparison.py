"""Compares a backup with a container, table or vault. Entry point: `compare`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The names that a restore creates, replaces or leaves. `extra` ones are never deleted."""

    what: str
    create: list[str] = field(default_factory=list)
    differ: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """The counts, and the names of what differs or is left out."""
        counts = f"{len(self.create)} new, {len(self.differ)} differ, {len(self.same)} same"
        line = f"{self.what}: {counts}, {len(self.extra)} only at the target"
        if self.differ:
            line += f"\n    differ: {_shorten(self.differ)}"
        if self.left_out:
            line += f"\n    left out: {_shorten(self.left_out)}"
        return line


def compare(what: str, saved: dict[str, str], there: dict[str, str]) -> Change:
    """Compare two maps from names to a text that stands for the content."""
    return Change(
        what=what,
        create=sorted(saved.keys() - there.keys()),
        differ=sorted(name for name in saved.keys() & there if saved[name] != there[name]),
        same=sorted(name for name in saved.keys() & there if saved[name] == there[name]),
        extra=sorted(there.keys() - saved.keys()),
    )


def _shorten(names: list[str]) -> str:
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown} … ({len(names)})"
