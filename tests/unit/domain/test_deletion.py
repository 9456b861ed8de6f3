"""The rules of a deletion: what it ends, what it leaves, and what it does not bring back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from aos.domain.codec import decode, encode
from aos.domain.envelope import CancelRun, DeleteConversation, RunEnded
from aos.domain.runs import advance, deletion
from aos.domain.runs.conversation import ALL_RUNS, CardView, Cleaning, Conversation, Step
from aos.domain.runs.run import AdmittedRequest, RunStatus
from tests.samples import NOON, a_request

CARD = CardView(state="active", digest="d" * 64, run_timeout_seconds=60.0)
AT = NOON + timedelta(minutes=1)
LATER = NOON + timedelta(minutes=2)
COMMAND = DeleteConversation(conversation_id="c1", deleted_at=AT)


def asked(run_id: str, *, at: timedelta = timedelta()) -> AdmittedRequest:
    """A request in the conversation."""
    return replace(
        a_request(run_id=run_id, conversation_id="c1", owner="ann", as_admin=False),
        admitted_at=NOON + at,
        metadata={"n": run_id},
    )


def started(*run_ids: str) -> Conversation:
    """A conversation whose first run is active and whose other runs wait."""
    state = None
    for run_id in run_ids:
        state = advance.admit(state, asked(run_id), known=False, now=NOON).conversation
    assert state is not None
    return replace(advance.start_next(state, CARD, now=NOON).conversation, next_sequence=200)


def deleted() -> Conversation:
    """A conversation that was deleted, and cleaned."""
    step = deletion.delete(started("r1"), COMMAND, now=AT)
    return deletion.finish(step.conversation.clear_outbox()).conversation


def test_a_deletion_ends_what_was_admitted_before_it_and_tells_main() -> None:
    late = asked("r3", at=timedelta(minutes=1, seconds=1))
    state = advance.admit(started("r1", "r2"), late, known=False, now=LATER).conversation
    step = deletion.delete(state, COMMAND, now=LATER)
    assert [(r.run_id, r.status, r.error.code) for r in step.runs if r.error] == [
        ("r1", RunStatus.CANCELLED, "conversation_deleted"),
        ("r2", RunStatus.CANCELLED, "conversation_deleted"),
    ]
    head = step.conversation
    told = [o.command.run_id for o in head.outbox if isinstance(o.command, RunEnded)]
    assert told == ["r1", "r2"]
    assert (head.deleted_at, head.began_at, head.next_sequence) == (AT, late.admitted_at, 0)
    assert (head.queued, head.cleaning) == ((late,), Cleaning(messages=200))


def test_messages_are_removed_in_bounded_steps_before_anything_else_is_done() -> None:
    state = deletion.delete(started("r1"), COMMAND, now=AT).conversation.clear_outbox()
    removed: list[int] = []
    while state.cleaning is not None and state.cleaning.messages:
        assert advance.find_next_action(state, now=AT).what == "clean"
        step = deletion.remove_messages(state, state.cleaning)
        assert 0 < len(step.removed_messages) <= deletion.MESSAGES_A_STEP
        removed += step.removed_messages
        state = step.conversation
    assert sorted(removed) == list(range(200))


def test_a_command_that_comes_again_changes_nothing() -> None:
    state = deleted()
    assert deletion.delete(state, COMMAND, now=LATER).conversation == state
    older = replace(COMMAND, deleted_at=NOON)
    assert deletion.delete(state, older, now=LATER).conversation == state


BETWEEN = replace(COMMAND, deleted_at=AT + timedelta(minutes=1))


def begun_again() -> Conversation:
    """A conversation that began again after BETWEEN."""
    new = asked("r9", at=timedelta(minutes=5))
    return advance.admit(deleted(), new, known=False, now=LATER).conversation


def test_a_deletion_that_is_older_than_the_conversation_that_stands_is_noted_only() -> None:
    state = begun_again()
    step = deletion.delete(state, BETWEEN, now=LATER)
    assert step == Step(conversation=replace(state, deleted_at=BETWEEN.deleted_at))
    over = replace(state, deleted_at=None)
    assert deletion.delete(over, BETWEEN, now=LATER).conversation == over


def test_a_run_that_a_noted_deletion_covers_is_cancelled_when_it_comes() -> None:
    noted = deletion.delete(begun_again(), BETWEEN, now=LATER).conversation
    step = advance.admit(noted, asked("r5", at=timedelta(minutes=2)), known=False, now=LATER)
    assert [(r.run_id, r.status) for r in step.runs] == [("r5", RunStatus.CANCELLED)]
    assert [request.run_id for request in step.conversation.queued] == ["r9"]


def test_a_deletion_that_is_noted_at_the_end_of_the_one_before_takes_its_place() -> None:
    ending = replace(begun_again(), cleaning=Cleaning(is_last=True))
    noted = deletion.delete(ending, BETWEEN, now=LATER).conversation
    assert noted.cleaning == Cleaning(again=True)
    assert deletion.finish(noted).conversation.deleted_at == BETWEEN.deleted_at


def test_a_start_that_comes_after_the_deletion_ends_cancelled_and_is_cleaned() -> None:
    step = advance.admit(deleted(), asked("r5"), known=False, now=LATER)
    assert [(r.status, r.error and r.error.code) for r in step.runs] == [
        (RunStatus.CANCELLED, "conversation_deleted")
    ]
    assert step.conversation.queued == ()
    assert step.conversation.cleaning == Cleaning(after=ALL_RUNS, late=("r5",), again=True)


def test_a_cancellation_that_comes_after_the_deletion_ends_as_the_deletion_says() -> None:
    command = CancelRun(request=asked("r5"))
    step = advance.cancel(deleted(), command, known=False, now=LATER)
    assert [r.error and r.error.code for r in step.runs] == ["conversation_deleted"]
    assert step.conversation.cleaning == Cleaning(after=ALL_RUNS, late=("r5",), again=True)


def test_a_request_after_the_deletion_begins_a_new_conversation_of_the_same_owner() -> None:
    new = asked("r9", at=timedelta(minutes=5))
    step = advance.admit(deleted(), new, known=False, now=LATER)
    head = step.conversation
    assert (head.queued, head.began_at, head.is_deleted) == ((new,), new.admitted_at, False)
    other = replace(new, run_id="r10", owner="bob")
    (run,) = advance.admit(deleted(), other, known=False, now=LATER).runs
    assert run.error is not None
    assert run.error.code == "conversation_not_found"


def test_a_wait_for_a_reply_is_state_and_leaves_a_command_for_its_end() -> None:
    state = deletion.delete(started("r1"), COMMAND, now=AT).conversation.clear_outbox()
    state = replace(state, cleaning=Cleaning())
    waiting = deletion.wait_for_reply(state, Cleaning(), now=AT).conversation
    due = AT + timedelta(seconds=1)
    assert [(o.scheduled_at, o.session_id) for o in waiting.outbox] == [(due, "c1")]
    assert advance.find_next_action(waiting, now=AT).what == "wait"
    assert waiting.is_busy
    woken = advance.clear_wait(waiting, waiting.outbox[0].command).conversation  # type: ignore[arg-type]
    assert advance.find_next_action(woken, now=AT).what == "clean"


def test_an_hour_later_the_rows_of_its_last_runs_are_looked_at_again() -> None:
    again = replace(COMMAND, again=True)
    step = deletion.delete(deleted(), again, now=AT + timedelta(hours=1))
    assert step.conversation.cleaning == Cleaning(again=True)
    other = replace(again, deleted_at=NOON)
    assert deletion.delete(deleted(), other, now=LATER).conversation == deleted()


def test_thirty_days_later_the_head_itself_is_cleaned() -> None:
    state, month = deleted(), timedelta(days=30)
    assert deletion.delete(state, COMMAND, now=AT + month).conversation.cleaning == Cleaning(
        is_last=True
    )
    soon = AT + month - timedelta(seconds=1)
    assert deletion.delete(state, COMMAND, now=soon).conversation == state


def test_what_a_run_and_its_request_keep_is_ids_status_code_and_times() -> None:
    step = deletion.delete(started("r1"), COMMAND, now=AT)
    (run,) = step.runs
    scrubbed = run.scrub()
    assert (scrubbed.run_id, scrubbed.status, scrubbed.ended_at) == ("r1", run.status, AT)
    assert (scrubbed.metadata, scrubbed.output, scrubbed.model) == ({}, "", None)
    request = asked("r1").scrub()
    assert (request.message, request.metadata, request.parts, request.reply) == ("", {}, (), None)
    assert (request.digest, request.owner) == (asked("r1").digest, asked("r1").owner)


def test_fields_that_this_version_does_not_know_are_removed_with_the_rest() -> None:
    planted = {"a_field_of_tomorrow": "what somebody wrote"}
    head = deletion.delete(replace(started("r1"), unknown=planted), COMMAND, now=AT).conversation
    assert "wrote" not in repr(encode(head))
    scrubbed = replace(asked("r1"), unknown=planted).scrub()
    assert "wrote" not in repr(encode(scrubbed))


@pytest.mark.parametrize("after", [None, ALL_RUNS])
def test_a_cleaning_that_is_done_with_all_runs_is_so_when_it_is_read_again(
    after: str | None,
) -> None:
    """Earlier versions wrote null, and read it as: no run is done."""
    written = encode(Cleaning(after=ALL_RUNS, late=("r5",))) | {"after": after}
    assert decode(Cleaning, written) == Cleaning(after=ALL_RUNS, late=("r5",))
