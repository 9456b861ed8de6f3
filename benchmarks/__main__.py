"""Measures what AOS costs, beside a minimal program in the same run: `make bench`. Entry point:
`main`.

Each section prints its figures and the limit of each. The exit code is 1 if a limit is missed.
Machines are noisy, so read the figures before the result.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import growth, long_conversation, sections
from benchmarks.figures import Report
from benchmarks.peers.table import peers
from benchmarks.streams import streams


def _cold(report: Report, root: Path) -> None:
    sections.cold_start(report, root)
    sections.deployed_start(report, root / "deployed")


def _telemetry(report: Report, root: Path) -> None:
    sections.telemetry_cost(report, root / "cost")
    sections.telemetry(report, root / "rows")


SECTIONS: dict[str, Callable[[Report, Path], None]] = {
    "turns": sections.turns,
    "tools": sections.tools,
    "budget": sections.budget,
    "history": sections.history,
    "load": sections.load,
    "cold": _cold,
    "cards": sections.cards,
    "walls": sections.walls,
    "memory": sections.memory,
    "telemetry": _telemetry,
    "streams": streams,
}
GROWTH: dict[str, Callable[[Report, Path], None]] = {
    "long": long_conversation.measure,
    "many": growth.many,
    "pending": growth.pending,
}
"""Sections that take minutes to write their state; they run only when named, `growth` is all."""


def make_named(*, quick: bool) -> dict[str, Callable[[Report, Path], None]]:
    """Return the sections that have options. They run only when named."""
    return {"peers": functools.partial(peers, quick=quick)}


def main() -> int:
    """Run the named sections, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    listed = ", ".join((*SECTIONS, *GROWTH, "growth", *make_named(quick=False)))
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=listed)
    parser.add_argument("--quick", action="store_true", help="peers: one short round, for a look")
    options = parser.parse_args()
    known = {**SECTIONS, **GROWTH, **make_named(quick=options.quick)}
    asked = options.sections or list(SECTIONS)
    names = [name for one in asked for name in (GROWTH if one == "growth" else (one,))]
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"there is no section {unknown[0]!r}; the sections are: {listed}")
    report = Report()
    for name in names:
        with tempfile.TemporaryDirectory(prefix=f"aos-bench-{name}-") as folder:
            known[name](report, Path(folder))
    report.head("missed" if report.missed else "nothing missed")
    for line in report.missed:
        report.say(f"  {line}")
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
