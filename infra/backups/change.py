"""What would a restore do to one container, table or vault?"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Names of what a restore finds. What is `extra` at the target is never deleted."""

    what: str
    create: list[str] = field(default_factory=list)
    differ: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line; names only where somebody must decide."""
        counts = f"{len(self.create)} new, {len(self.differ)} differ, {len(self.same)} same"
        line = f"{self.what}: {counts}, {len(self.extra)} only at the target"
        if self.differ:
            line += f"\n    differ: {_some(self.differ)}"
        if self.left_out:
            line += f"\n    left out: {_some(self.left_out)}"
        return line


def compare(what: str, saved: dict[str, str], there: dict[str, str]) -> Change:
    """Compare by name and by what stands for the contents."""
    return Change(
        what=what,
        create=sorted(saved.keys() - there.keys()),
        differ=sorted(name for name in saved.keys() & there if saved[name] != there[name]),
        same=sorted(name for name in saved.keys() & there if saved[name] == there[name]),
        extra=sorted(there.keys() - saved.keys()),
    )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown} … ({len(names)})"
