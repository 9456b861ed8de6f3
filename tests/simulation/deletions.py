"""Does a deleted conversation stay deleted? Entry points: `Deleted`, `Deletions`.

What was deleted comes back in no row, whatever comes late or again: no message, no run, no text.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from aos.domain.runs.conversation import Conversation
from aos.domain.runs.run import Run

if TYPE_CHECKING:
    from tests.simulation.world import World

SKEW = timedelta(seconds=45)
"""Twice the difference of two instances' clocks, at most."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """A deletion that was accepted: the conversation, and its time by main's clock."""

    conversation_id: str
    at: datetime


class Deletions:
    """Watches the conversations of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._at: dict[str, datetime] = {}
        self._began: dict[str, datetime | None] = {}
        self.gone: set[str] = set()
        self.scrubbed: set[str] = set()

    def written(self, operation: str, key: str) -> None:
        """A row was written."""
        if operation == "eraser.scrub":
            self._seen(key)
            self.scrubbed.add(key)
        elif operation == "conversations.save":
            self._saved(key)

    def has_begun(self, key: str, head: Conversation) -> bool:
        """Whether this save of a head deletes the conversation. It may only note a deletion after
        which the conversation that stands began."""
        if head.deleted_at is None or head.deleted_at == self._at.get(key):
            return False
        began_at = self._began.get(key)
        return began_at is None or head.deleted_at >= began_at

    def verdict(self) -> None:
        """What was deleted is gone, and nothing of it is left to do."""
        world, fail = self._world, self._world.checks.fail
        for deleted in world.deletions:
            rows = world.tables.conversations.get(deleted.conversation_id)
            # The head names an earlier deletion where nothing began between the two.
            times = () if rows is None else (rows.head.deleted_at, rows.head.began_at)
            if not any(time is not None and time >= deleted.at for time in times):
                fail(f"{deleted.conversation_id} was to be deleted, and was not: {deleted.at}")
        for key, rows in world.tables.conversations.items():
            if rows.head.cleaning is not None:
                fail(f"{key} was never cleaned: {rows.head.cleaning}")
        for run_id in sorted(self.gone):
            self._is_clean(run_id)

    def _is_clean(self, run_id: str) -> None:
        tables, fail = self._world.tables, self._world.checks.fail
        stored = tables.requests[run_id]
        rows = tables.conversations[stored.request.conversation_id]
        if stored.request != stored.request.scrub() or not stored.scrubbed:
            fail(f"the request of {run_id} was deleted and is there: {stored.request}")
        if rows.runs[run_id] != rows.runs[run_id].scrub():
            fail(f"the run {run_id} was deleted and is there: {rows.runs[run_id]}")
        if any(message.run_id == run_id for message in rows.messages.values()):
            fail(f"messages of {run_id} were deleted and are there")
        kinds = {
            "request for approval": tables.approvals,
            "decision": tables.decisions,
            "question": tables.questions,
            "answer": tables.answers,
        }
        for name, kept in kinds.items():
            if any(key[0] == run_id for key in kept):
                fail(f"a {name} of {run_id} was deleted and is there")
        for key, call in tables.tool_calls.items():
            if key[0] == run_id and call != call.scrub():
                fail(f"the result of a call of {run_id} was deleted and is there: {call}")

    def _saved(self, key: str) -> None:
        rows, fail = self._world.tables.conversations[key], self._world.checks.fail
        head = rows.head
        if head.deleted_at is None:
            return
        is_new = self.has_begun(key, head)
        self._at[key], self._began[key] = head.deleted_at, head.began_at
        if is_new:
            waiting = {request.run_id for request in head.queued}
            self.gone |= {
                run.run_id
                for run in rows.runs.values()
                if run.run_id not in waiting
                and (run.started_at is not None or run.created_at <= head.deleted_at)
            }
        self.gone |= {run.run_id for run in rows.runs.values() if _is_cancelled(run)}
        going_on = head.queued if head.active is None else (head.active.request, *head.queued)
        for request in going_on:
            if request.run_id in self.gone or request.admitted_at <= head.deleted_at:
                fail(f"{request.run_id} was deleted and goes on")
        if head.cleaning is None or not head.cleaning.messages:
            back = {m.run_id for m in rows.messages.values()} & self.gone
            if back:
                fail(f"messages of {back} came back")

    def _seen(self, run_id: str) -> None:
        if run_id not in self._world.checks.seen_at:
            self._world.checks.fail(f"{run_id} was scrubbed before its reply was recorded")


def _is_cancelled(run: Run) -> bool:
    return run.error is not None and run.error.code == "conversation_deleted"
