"""Accepted means done once, whatever process dies when: a bounded number of seeds.

`make sim` runs thousands; a seed that ever failed is listed here by its number and its reason.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tests.simulation.seeds import simulate, told

SEEDS = range(1, 4001)
SECONDS = 15.0
AT_LEAST = 200
"""So many seeds run however slow the machine is."""
FAILED_ONCE = (613, 3005, 12817, 101226, 101731, 5001337)
"""3005: a call was entered so slowly that its hold was over before it was made. 5001337: a
delegation came twice; one delivery was refused, by another catalog the other was admitted. 12817: a
refusal was sent a minute after it was decided, and its conversation was free by then. 613, 101731:
a run that began after a deletion was scrubbed, because a head that was read again had forgotten
that all runs were cleaned. 101226: a decision came late about a run that had begun between a
deletion and its command."""


def test_accepted_means_done_once_in_every_simulated_world() -> None:
    started = time.monotonic()
    for number, seed in enumerate(SEEDS):
        if number >= AT_LEAST and time.monotonic() - started > SECONDS:
            break
        outcome = simulate(seed)
        assert outcome.failure is None, told(outcome)


@pytest.mark.parametrize("seed", FAILED_ONCE)
def test_a_seed_that_failed_once_holds(seed: int) -> None:
    outcome = simulate(seed)
    assert outcome.failure is None, told(outcome)


def test_a_seed_tells_the_same_story_in_every_process() -> None:
    """Else a failing seed could not be told again."""
    code = (
        "from tests.simulation.seeds import simulate\n"
        "for seed in range(1, 40): print(simulate(seed).world.story.events)"
    )
    stories = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert len(stories[0]) > 10_000
    assert stories[0] == stories[1]
