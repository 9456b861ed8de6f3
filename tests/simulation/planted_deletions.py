"""Bugs of deletions that the simulation must find. Entry point: `PLANTED_IN_DELETIONS`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest.mock import patch

from aos.domain.envelope import Approve, DeleteConversation, ToolResult
from aos.domain.runs import advance, deletion
from aos.domain.runs.conversation import Conversation, Step
from aos.domain.runs.run import Run
from aos.ports.requests import StoredRequest
from aos.services.admission import Admission, Admissions
from aos.services.cleaner import Cleaner
from aos.services.execution.deletion import Deletions
from aos.services.execution.handler import Execution
from aos.services.execution.unit_of_work import UnitOfWork

Planted = Callable[[], contextlib.AbstractContextManager[Any]]


def late_start_runs() -> contextlib.AbstractContextManager[Any]:
    """A StartRun that comes after the deletion runs, though it was admitted before."""
    return patch.object(advance, "cancel_if_deleted", lambda *_, **__: None)


def repeat_is_answered() -> contextlib.AbstractContextManager[Any]:
    """A request that comes again is answered, though its conversation was deleted."""

    async def find_repeat(self: Admissions, stored: StoredRequest, digest: str) -> Admission:
        run = await self._runs.read(stored.request)
        return Admission(request=stored.request, run=run, created=False)

    return patch.object(Admissions, "_find_repeat", find_repeat)


def scrub_before_seen() -> contextlib.AbstractContextManager[Any]:
    """The rows of a run are scrubbed as soon as it has ended: its reply is made of what is left."""

    async def is_answered(self: Deletions, run: Run, *, now: datetime) -> bool:
        return True

    return patch.object(Deletions, "_is_answered", is_answered)


def cleaning_forgotten() -> contextlib.AbstractContextManager[Any]:
    """A deletion ends the runs, and nothing is cleaned."""
    real = deletion.delete

    def delete(conversation: Conversation, command: DeleteConversation, *, now: datetime) -> Step:
        step = real(conversation, command, now=now)
        return replace(step, conversation=replace(step.conversation, cleaning=None))

    return patch.object(deletion, "delete", delete)


def late_result_stays() -> contextlib.AbstractContextManager[Any]:
    """The result of a tool that comes after the deletion stays in its row."""
    stack = contextlib.ExitStack()
    stack.enter_context(
        patch(
            "aos.services.execution.handler.clean_late", lambda conversation, run_id: conversation
        )
    )
    stack.enter_context(deletion_looks_once())
    return stack


def late_answer_stays() -> contextlib.AbstractContextManager[Any]:
    """What a person says after the deletion stays in its row."""
    real = Execution._clean_after

    def clean_after(self: Execution, unit: UnitOfWork, command: ToolResult | Approve) -> None:
        if isinstance(command, ToolResult):
            real(self, unit, command)

    stack = contextlib.ExitStack()
    stack.enter_context(patch.object(Execution, "_clean_after", clean_after))
    stack.enter_context(deletion_looks_once())
    return stack


def deletion_looks_once() -> contextlib.AbstractContextManager[Any]:
    """What a main that died wrote after the deletion stays, if nobody tries again."""

    async def look_again(self: Cleaner, due: Any) -> bool:
        return True

    return patch.object(Cleaner, "_look_again", look_again)


def cleaning_not_scheduled() -> contextlib.AbstractContextManager[Any]:
    """A cleaning that waits for a reply leaves no command that would continue it."""
    real = deletion.wait_for_reply

    def wait(conversation: Conversation, *more: Any, **options: Any) -> Step:
        step = real(conversation, *more, **options)
        return replace(step, conversation=replace(step.conversation, outbox=conversation.outbox))

    return patch.object(deletion, "wait_for_reply", wait)


def old_deletion_deletes_again() -> contextlib.AbstractContextManager[Any]:
    """A DeleteConversation that comes again deletes the conversation that stands now."""
    real = deletion.delete

    def delete(conversation: Conversation, command: DeleteConversation, *, now: datetime) -> Step:
        forgetful = replace(conversation, deleted_at=None, began_at=None)
        return real(forgetful, command, now=now)

    return patch.object(deletion, "delete", delete)


def lost_command_is_not_sent_again() -> contextlib.AbstractContextManager[Any]:
    """Main tells realm of a deletion once, and follows up nothing."""

    async def nothing(self: Cleaner, due: Any) -> None:
        await self._due.drop(due)

    return patch.object(Cleaner, "_follow_deletion", nothing)


PLANTED_IN_DELETIONS: dict[str, Planted] = {
    "late_start_runs": late_start_runs,
    "repeat_is_answered": repeat_is_answered,
    "scrub_before_seen": scrub_before_seen,
    "cleaning_forgotten": cleaning_forgotten,
    "late_result_stays": late_result_stays,
    "late_answer_stays": late_answer_stays,
    "cleaning_not_scheduled": cleaning_not_scheduled,
    "old_deletion_deletes_again": old_deletion_deletes_again,
    "lost_command_is_not_sent_again": lost_command_is_not_sent_again,
}
"""Every bug of deletions by its name on the command line."""
