"""Decides what the deletion of a conversation changes. Entry points: `delete`, `cancel_if_deleted`.

The rules are pure, as in `aos.domain.runs.advance`. A deletion marks the head and ends what was
admitted before it. What is then to be removed stands in the head as `Cleaning`, and is done before
anything else (docs/contracts/storage.md, "Deletion").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from aos.domain.envelope import DeleteConversation
from aos.domain.row_kinds import REQUEST_RETENTION
from aos.domain.runs.conversation import ALL_RUNS, Cleaning, Conversation, Step
from aos.domain.runs.run import AdmittedRequest, Run, RunStatus
from aos.errors import ErrorInfo

MESSAGES_A_STEP = 80
"""The most rows of messages that one transaction removes."""
RUNS_A_STEP = 20
HEARD = timedelta(seconds=5)
"""The rows of a run are kept so long after its end: callers over HTTP read its row every second."""
LONGEST_WRITE = timedelta(minutes=30)
"""A caller's request that was still going on when its run ended has ended by then."""
FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=1)


def delete(conversation: Conversation, command: DeleteConversation, *, now: datetime) -> Step:
    """Apply a DeleteConversation: mark the head, and end the runs admitted before it.

    A command that the head knows only lets the cleaning continue; `again` begins another, and 30
    days after the deletion the command ends the head itself. One that is older than the
    conversation that now stands concerns only runs that realm has not seen.
    """
    at, known = command.deleted_at, conversation.deleted_at
    if known is not None and at <= known:
        return Step(conversation=_follow_up(conversation, command, now=now))
    if conversation.began_at is not None and at < conversation.began_at:
        return Step(conversation=conversation if known is None else _note(conversation, at))
    step = Step(conversation=conversation)
    if conversation.active is not None:  # it has seen what is deleted
        step = conversation.end_active(RunStatus.CANCELLED, error=deletion_error(), now=now)
    for request in conversation.queued:
        if request.admitted_at <= at:
            head = step.conversation
            end = head.end_waiting(request, RunStatus.CANCELLED, error=deletion_error(), now=now)
            step = step.then(end)
    head = step.conversation
    gone = Cleaning(messages=head.next_sequence + _left(conversation))
    admitted = [request.admitted_at for request in head.queued]
    marked = replace(
        head,
        next_sequence=0,
        withheld_runs=(),
        deleted_at=at,
        began_at=min(admitted, default=None),
        cleaning=gone,
        unknown={},
    )
    return replace(step, conversation=marked)


def is_before_deletion(conversation: Conversation, request: AdmittedRequest) -> bool:
    """Whether the request was admitted before the conversation's last deletion, or in the same
    millisecond."""
    deleted_at = conversation.deleted_at
    return deleted_at is not None and request.admitted_at <= deleted_at


def cancel_if_deleted(
    conversation: Conversation, request: AdmittedRequest, *, now: datetime
) -> Step | None:
    """End a run that realm does not know and that was admitted before the deletion; else None.

    Its rows are scrubbed like those of the runs before it.
    """
    if not is_before_deletion(conversation, request):
        return None
    end = conversation.end_waiting(request, RunStatus.CANCELLED, error=deletion_error(), now=now)
    return replace(end, conversation=clean_late(end.conversation, request.run_id))


def clean_late(conversation: Conversation, run_id: str) -> Conversation:
    """Have a run cleaned once more, because a late command left something of it."""
    cleaning = conversation.cleaning or Cleaning(after=ALL_RUNS, again=True)
    if conversation.deleted_at is None or run_id in cleaning.late:
        return conversation
    late = (*cleaning.late, run_id)
    return replace(conversation, cleaning=replace(cleaning, late=late, retry_at=None))


def begin_again(conversation: Conversation, request: AdmittedRequest) -> Conversation:
    """Note the first run of the conversation that stands after a deletion."""
    if conversation.deleted_at is None:
        return conversation
    first = min(conversation.began_at or request.admitted_at, request.admitted_at)
    return replace(conversation, began_at=first)


def remove_messages(conversation: Conversation, cleaning: Cleaning) -> Step:
    """Remove the last messages that are left, as many as one transaction takes."""
    left = max(0, cleaning.messages - MESSAGES_A_STEP)
    return Step(
        conversation=replace(conversation, cleaning=replace(cleaning, messages=left)),
        removed_messages=tuple(range(left, cleaning.messages)),
    )


def wait_for_reply(conversation: Conversation, cleaning: Cleaning, *, now: datetime) -> Step:
    """Schedule the next look at a run whose reply is not out."""
    pause = min(FIRST_PAUSE * (1 << min(cleaning.retries, 10)), LONGEST_PAUSE)
    due = now + pause
    waiting = replace(cleaning, retry_at=due, retries=cleaning.retries + 1)
    name = conversation.conversation_id
    state = replace(conversation, cleaning=waiting).schedule_continue(name, due=due)
    return Step(conversation=state)


def pass_runs(conversation: Conversation, cleaning: Cleaning, runs: Sequence[Run]) -> Step:
    """Note that these runs are done (none: all are)."""
    after = runs[-1].run_id if runs else ALL_RUNS
    return Step(
        conversation=replace(
            conversation, cleaning=replace(cleaning, after=after, retry_at=None, retries=0)
        )
    )


def pass_late(conversation: Conversation, cleaning: Cleaning) -> Step:
    """Note that the first of the runs that are late are done."""
    late = cleaning.late[RUNS_A_STEP:]
    return Step(
        conversation=replace(
            conversation, cleaning=replace(cleaning, late=late, retry_at=None, retries=0)
        )
    )


def write_scrubbed(step: Step, old: Sequence[Run], *, is_last: bool) -> Step:
    """Write the runs that were scrubbed; at the end of the head's own time remove them."""
    return replace(
        step,
        runs=() if is_last else tuple(run.scrub() for run in old),
        removed_runs=tuple(run.run_id for run in old) if is_last else (),
    )


def is_old(conversation: Conversation, run: Run, *, is_last: bool) -> bool:
    """Whether a run belongs to what was deleted.

    A run that had started does, whatever the clock of the main that admitted it: nothing starts
    before the cleaning is done. At the end of the head's own time (`is_last`) that tells nothing,
    nor of the runs that late commands name.
    """
    if conversation.deleted_at is not None and run.created_at <= conversation.deleted_at:
        return True
    return run.started_at is not None and not is_last


def may_be_late(conversation: Conversation, run: Run) -> bool:
    """Whether rows of a run may have been written while its conversation was deleted, by a main
    that died then: it ended shortly before or at the deletion."""
    if run.ended_at is None or conversation.deleted_at is None:
        return False
    return run.ended_at >= conversation.deleted_at - LONGEST_WRITE


def keeps_texts(conversation: Conversation, cleaning: Cleaning) -> bool:
    """Whether the texts and transcripts belong to a conversation that has begun since."""
    return (cleaning.again or cleaning.is_last) and not conversation.is_deleted


def finish(conversation: Conversation) -> Step:
    """Note that nothing of the deletion is left to do.

    After the last cleaning the conversation that has begun since stands like any other. `began_at`
    stays, so that main, and a command of the deletion that comes late, know that it is over.
    """
    cleaning = conversation.cleaning
    done = replace(conversation, cleaning=None)
    if cleaning is not None and cleaning.is_last:
        done = replace(done, deleted_at=None)
    return Step(conversation=done)


def deletion_error() -> ErrorInfo:
    """The error of a run that a deletion cancelled."""
    return ErrorInfo(
        code="conversation_deleted",
        message="the conversation of this run was deleted; begin a new one",
    )


def _note(conversation: Conversation, at: datetime) -> Conversation:
    """Note a deletion that is older than the conversation that stands: a run that was admitted
    before it may still come. The removal that ends the deletion before is left to the end of this
    one."""
    cleaning = conversation.cleaning
    if cleaning is not None and cleaning.is_last:
        cleaning = replace(cleaning, is_last=False, again=True)
    return replace(conversation, deleted_at=at, cleaning=cleaning)


def _left(conversation: Conversation) -> int:
    """The messages that an unfinished deletion has not removed: they precede all others."""
    return 0 if conversation.cleaning is None else conversation.cleaning.messages


def _follow_up(
    conversation: Conversation, command: DeleteConversation, *, now: datetime
) -> Conversation:
    """Begin the second cleaning, or 30 days after the deletion the last one, if nothing else is to
    be done."""
    if conversation.deleted_at != command.deleted_at or conversation.cleaning is not None:
        return conversation
    if now - command.deleted_at >= REQUEST_RETENTION:
        return replace(conversation, cleaning=Cleaning(is_last=True))
    if command.again:
        return replace(conversation, cleaning=Cleaning(again=True))
    return conversation
