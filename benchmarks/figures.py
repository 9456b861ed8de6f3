"""Computes medians and percentiles and prints them in a table. Entry point: `Report`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


@dataclass(slots=True)
class Report:
    """Prints the lines of a run: each figure beside its limit."""

    missed: list[str] = field(default_factory=list)

    def say(self, line: str = "") -> None:
        """Print one line at once."""
        print(line, flush=True)

    def head(self, title: str) -> None:
        """Begin a section."""
        self.say(f"\n{title}")

    def figure(self, name: str, value: str) -> None:
        """Print a figure without a limit."""
        self.say(f"  {name:<52} {value}")

    def held(self, name: str, value: float, *, most: float, unit: str) -> None:
        """Print a figure that must not exceed `most`."""
        self._judge(name, value, f"at most {most:.4g} {unit}", value <= most, unit)

    def reached(self, name: str, value: float, *, least: float, unit: str) -> None:
        """Print a figure that must reach `least`."""
        self._judge(name, value, f"at least {least:.4g} {unit}", value >= least, unit)

    def _judge(self, name: str, value: float, wanted: str, good: bool, unit: str) -> None:
        self.say(f"  {name:<52} {value:8.4g} {unit:<8} {wanted}: {'yes' if good else 'NO'}")
        if not good:
            self.missed.append(f"{name}: {value:.4g} {unit}, wanted {wanted}")
