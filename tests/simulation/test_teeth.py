"""The simulation has teeth: each bug that is planted is found, and soon."""

from __future__ import annotations

import re

import pytest

from tests.simulation.planted import PLANTED
from tests.simulation.seeds import simulate

FOUND_WITHIN = 500
FOUND_AT = {
    "task_never_asked_for": 8,
    "sent_outbox_stays": 4,
    "agents_wake_in_their_sleep": 83,
    "approval_only_in_the_message": 18,
    "asked_again_as_the_first_attempt": 232,
    "asked_again_under_a_new_key": 41,
    "attempt_goes_on_after_a_gap": 61,
    "budget_at_admission_only": 166,
    "busy_by_the_head_alone": 30,
    "called_again_before_until": 138,
    "calls_noted_before_they_are_sent": 241,
    "cancel_forgotten": 10,
    "cleaning_not_scheduled": 81,
    "clock_runs_in_an_outage": 14,
    "conflict_taken_for_recorded": 330,
    "delivery_given_up_early": 14,
    "earlier_round_heard_again": 143,
    "early_row_not_awaited": 131,
    "early_row_of_a_key": 11,
    "end_noted_before_it_is_sent": 13,
    "failed_events_forgotten": 25,
    "failed_lists_forgotten": 102,
    "failed_records_forgotten": 40,
    "failed_try_forgotten": 14,
    "late_answer_stays": 127,
    "late_result_stays": 62,
    "late_start_runs": 43,
    "latecomer_misses_what_was_read": 42,
    "look_taken_for_a_copy": 127,
    "long_run_never_ends_by_its_age": 180,
    "newer_columns_of_usage_dropped": 204,
    "newer_fields_of_calls_dropped": 46,
    "newer_fields_of_ends_dropped": 193,
    "no_etag": 11,
    "nothing_left_for_the_next": 28,
    "old_catalog": 292,
    "old_deletion_deletes_again": 13,
    "orphan_dropped_at_once": 28,
    "owners_unchecked": 67,
    "pause_counts_as_an_attempt": 16,
    "pause_seen_late": 21,
    "push_order_forgotten": 95,
    "receiver_told_after_the_record": 23,
    "refused_in_silence": 14,
    "removed_before_sent": 60,
    "repeat_is_answered": 59,
    "rest_of_the_text_not_told": 4,
    "resumed_from_the_last_saved": 61,
    "row_of_a_new_run_overwritten": 152,
    "slot_free_at_once": 429,
    "spending_without_etag": 71,
    "storm": 487,
    "task_goes_on_after_its_run": 59,
    "tokens_forgotten": 116,
    "turn_counted_twice": 109,
    "two_answers": 162,
    "two_decisions": 61,
    "unknown_record_repeated": 15,
    "waiting_request_forgotten": 16,
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
