"""Which seeds hold? `python -m tests.simulation --seeds 5000 [--from N] [--planted NAME]`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time

from tests.simulation.planted import PLANTED
from tests.simulation.seeds import simulate, told

PROGRESS_EVERY = 500


def main() -> int:
    """Run the seeds. The story of one that fails goes to standard output, and ends the run; with
    `--keep-going` the others follow. Exit 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5000, help="how many")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first seed")
    parser.add_argument("--planted", choices=sorted(PLANTED), help="with this bug in the code")
    parser.add_argument("--keep-going", action="store_true", help="also after a seed that fails")
    options = parser.parse_args()
    bug = PLANTED[options.planted] if options.planted else contextlib.nullcontext
    started, failed = time.perf_counter(), 0
    with bug():
        for number, seed in enumerate(range(options.first, options.first + options.seeds), 1):
            outcome = simulate(seed)
            if outcome.failure is not None:
                failed += 1
                _say(told(outcome, planted=options.planted))
                if not options.keep_going:
                    return 1
            if number % PROGRESS_EVERY == 0 or number == options.seeds:
                _progress(number, failed, started)
    return 1 if failed else 0


def _progress(number: int, failed: int, started: float) -> None:
    speed = number / (time.perf_counter() - started)
    _say(f"{number - failed} of {number} seeds hold, {speed:.0f} seeds/s\n")


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
