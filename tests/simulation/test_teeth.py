"""The simulation has teeth: each bug that is planted is found, and soon."""

from __future__ import annotations

import pytest

from tests.simulation.planted import PLANTED
from tests.simulation.seeds import simulate

FOUND_WITHIN = 500
FOUND_AT = {
    "asked_again_under_a_new_key": 41,
    "budget_at_admission_only": 33,
    "busy_by_the_head_alone": 30,
    "cancel_forgotten": 28,
    "earlier_round_heard_again": 135,
    "late_answer_stays": 43,
    "late_result_stays": 43,
    "old_deletion_deletes_again": 62,
    "pause_seen_late": 78,
    "receiver_told_after_the_record": 99,
    "removed_before_sent": 60,
    "row_older_than_head": 56,
    "slot_free_at_once": 68,
    "turn_counted_twice": 78,
}
"""A seed that finds the bug, where the first to do so comes late. It is tried before all others."""


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_a_planted_bug_is_found(name: str) -> None:
    with PLANTED[name]():
        for seed in (FOUND_AT.get(name, 1), *range(1, FOUND_WITHIN + 1)):
            if simulate(seed).failure is not None:
                return
    pytest.fail(f"{name} was not found within {FOUND_WITHIN} seeds")


def test_every_seed_that_is_tried_first_is_early_and_of_a_planted_bug() -> None:
    assert FOUND_AT.keys() <= PLANTED.keys()
    assert max(FOUND_AT.values()) <= FOUND_WITHIN
