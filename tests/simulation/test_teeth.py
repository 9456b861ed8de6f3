"""The simulation has teeth: each bug that is planted is found, and soon."""

from __future__ import annotations

import re

import pytest

from tests.simulation.planted import PLANTED
from tests.simulation.seeds import simulate

FOUND_WITHIN = 500
FOUND_AT = {
    "agents_wake_in_their_sleep": 83,
    "asked_again_as_the_first_attempt": 384,
    "asked_again_under_a_new_key": 22,
    "attempt_goes_on_after_a_gap": 175,
    "budget_at_admission_only": 166,
    "called_again_before_until": 138,
    "cancel_forgotten": 10,
    "cleaning_not_scheduled": 32,
    "conflict_taken_for_recorded": 93,
    "earlier_round_heard_again": 63,
    "early_row_not_awaited": 131,
    "failed_lists_forgotten": 11,
    "failed_records_forgotten": 363,
    "late_answer_stays": 184,
    "late_start_runs": 43,
    "latecomer_misses_what_was_read": 80,
    "long_run_never_ends_by_its_age": 66,
    "newer_columns_of_usage_dropped": 204,
    "newer_fields_of_calls_dropped": 312,
    "newer_fields_of_ends_dropped": 8,
    "old_catalog": 305,
    "old_deletion_deletes_again": 13,
    "owners_unchecked": 67,
    "push_order_forgotten": 95,
    "receiver_told_after_the_record": 23,
    "removed_before_sent": 60,
    "repeat_is_answered": 59,
    "rest_of_the_text_not_told": 61,
    "resumed_from_the_last_saved": 61,
    "row_of_a_new_run_overwritten": 99,
    "slot_free_at_once": 429,
    "spending_without_etag": 52,
    "storm": 9,
    "task_goes_on_after_its_run": 59,
    "task_never_asked_for": 78,
    "tokens_forgotten": 109,
    "turn_counted_twice": 71,
    "two_answers": 2,
    "unknown_record_repeated": 79,
}
"""A seed that finds the bug, where the first to do so comes late. It is tried before all others."""


NO_BUG = re.compile(r"raised (TypeError|AttributeError|NameError)")
"""What is told of a bug that does not fit the code: its own code fails."""


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_a_planted_bug_is_found(name: str) -> None:
    with PLANTED[name]():
        for seed in (FOUND_AT.get(name, 1), *range(1, FOUND_WITHIN + 1)):
            failure = simulate(seed).failure
            if failure is not None:
                assert not NO_BUG.search(failure), failure
                return
    pytest.fail(f"{name} was not found within {FOUND_WITHIN} seeds")


def test_every_seed_that_is_tried_first_is_early_and_of_a_planted_bug() -> None:
    assert FOUND_AT.keys() <= PLANTED.keys()
    assert max(FOUND_AT.values()) <= FOUND_WITHIN
