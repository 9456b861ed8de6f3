"""Accepted means done once, whatever process dies when: seeds that failed once hold, and each tells
the same story in every process.

2,000 seeds run in the modules `test_seeds_…`, side by side; `make sim` runs more. A seed that ever
failed is listed here by its number and its reason.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.seeds import simulate, told

FAILED_ONCE = (
    313,
    613,
    3005,
    12817,
    101226,
    101731,
    5001337,
    601221,
    714831,
    753681,
    766578,
    705662,
    713706,
    752587,
    757727,
    757779,
    2116100,
    2120649,
)
"""601221: two handlers of one turn told their texts under the same attempt. 313: a conversation
whose last run took longer than a look at what is old did not end by its age.
3005: a call was entered so slowly that its hold was over before it was made. 5001337: a
delegation came twice; one delivery was refused, by another catalog the other was admitted. 12817: a
refusal was sent a minute after it was decided, and its conversation was free by then. 613, 101731:
a run that began after a deletion was scrubbed, because a head that was read again had forgotten
that all runs were cleaned. 101226: a decision came late about a run that had begun between a
deletion and its command. The last three were wrong expectations. 714831: the stand-in of a newer
version forgot its fields when it saved an end twice before it sent it. 753681: the message that
asks for a task was nine minutes late. 766578: a save that was given up landed while the turn was
asked again, so that the message was the attempt's before. 2116100: a deletion whose command was
lost was taken for past, because a later request had begun the conversation again. 2120649: a call
was begun between the two writes that forbade it, and was said not to be made. 752587: a check of
the catalog that failed before anything was known counted for one that came after it. Wrong
expectations again: 705662 and 757779, an admission was under way when a pause came; 713706, a copy
of a delivery came a day late and was given up; 757727, the clock of a main was late when an agent
was enabled."""


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
