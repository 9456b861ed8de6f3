"""Which seeds hold? `python -m tests.simulation --seeds 5000 [--from N] [--planted NAME]`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time

from tests.simulation.planted import PLANTED
from tests.simulation.seeds import simulate, told


def main() -> int:
    """Run seeds until one fails; its story goes to standard output. Exit 1 then."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5000, help="how many")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first seed")
    parser.add_argument("--planted", choices=sorted(PLANTED), help="with this bug in the code")
    options = parser.parse_args()
    bug = PLANTED[options.planted] if options.planted else contextlib.nullcontext
    started = time.perf_counter()
    with bug():
        for number, seed in enumerate(range(options.first, options.first + options.seeds), 1):
            outcome = simulate(seed)
            if outcome.failure is not None:
                sys.stdout.write(told(outcome, planted=options.planted))
                return 1
            if number % 1000 == 0:
                _progress(number, started)
    _progress(options.seeds, started)
    return 0


def _progress(number: int, started: float) -> None:
    seconds = time.perf_counter() - started
    sys.stdout.write(f"{number} seeds hold, {number / seconds:.0f} seeds/s\n")


if __name__ == "__main__":
    sys.exit(main())
