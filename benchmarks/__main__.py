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
from benchmarks.account import STORAGE_MS, account
from benchmarks.doors import doors
from benchmarks.figures import Report
from benchmarks.peers.table import peers
from benchmarks.storage import storage
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
    "storage": storage,
    "history": sections.history,
    "load": sections.load,
    "cold": _cold,
    "cards": sections.cards,
    "walls": sections.walls,
    "memory": sections.memory,
    "telemetry": _telemetry,
    "streams": streams,
    "doors": doors,
}
GROWTH: dict[str, Callable[[Report, Path], None]] = {
    "long": long_conversation.measure,
    "many": growth.many,
    "pending": growth.pending,
}
"""Sections that take minutes to write their state; they run only when named, `growth` is all."""


def make_named(options: argparse.Namespace) -> dict[str, Callable[[Report, Path], None]]:
    """Return the sections that have options. They run only when named."""
    delays = tuple(float(part) for part in options.storage_ms.split(","))
    return {
        "peers": functools.partial(peers, quick=options.quick, storage_ms=delays),
        "account": functools.partial(
            account, quick=options.quick, storage_ms=delays, write=options.write
        ),
    }


def main() -> int:
    """Run the named sections, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    listed = ", ".join((*SECTIONS, *GROWTH, "growth", "peers", "account"))
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=listed)
    parser.add_argument(
        "--quick", action="store_true", help="peers, account: a few turns, for a look"
    )
    parser.add_argument(
        "--storage-ms",
        default=",".join(f"{delay:g}" for delay in STORAGE_MS),
        help="peers, account: how long each storage call waits, one value after the other",
    )
    parser.add_argument(
        "--write", action="store_true", help="account: write the measured times into docs/COST.md"
    )
    options = parser.parse_args()
    known = {**SECTIONS, **GROWTH, **make_named(options)}
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
