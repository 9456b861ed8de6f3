"""Plants bugs in what readers of a watched run are told. Entry point: `PLANTED_IN_WATCHING`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any
from unittest.mock import patch

from aos.adapters.memory import MemoryRunEventStore
from aos.domain.envelope import RemoveDeltas
from aos.domain.runs.conversation import Conversation
from aos.domain.runs.run import AdmittedRequest
from aos.domain.runs.run_events import EventId, EventRow, RunEvent
from aos.ports.model import ModelAnswer
from aos.services.execution.turn_stream import TurnStream, TurnStreams, _Attempt
from aos.services.execution.unit_of_work import UnitOfWork
from aos.services.run_events.feeds import Feed
from aos.services.run_events.reader import RunEvents


def asked_again_as_the_first_attempt() -> contextlib.AbstractContextManager[Any]:
    """A turn that is asked again after a kill does not know of the attempt before, and writes in
    its place."""
    real = MemoryRunEventStore.add

    async def count(self: TurnStreams, conversation: Conversation) -> int:
        return 0

    async def add(
        self: MemoryRunEventStore, conversation_id: str, row: EventRow, *, new: bool = False
    ) -> None:
        await real(self, conversation_id, row)

    stack = contextlib.ExitStack()
    stack.enter_context(patch.object(TurnStreams, "_count_attempts", count))
    stack.enter_context(patch.object(MemoryRunEventStore, "add", add))
    return stack


def provisional_events_stay() -> contextlib.AbstractContextManager[Any]:
    """What is provisional is not removed."""

    async def remove(self: TurnStreams, conversation: Conversation, command: RemoveDeltas) -> None:
        return None

    return patch.object(TurnStreams, "remove", remove)


def rest_of_the_text_not_told() -> contextlib.AbstractContextManager[Any]:
    """What the endpoint did not stream is not told."""

    def complete(self: TurnStream, answer: ModelAnswer) -> None:
        return None

    return patch.object(TurnStream, "_complete", complete)


def rest_forgotten() -> contextlib.AbstractContextManager[Any]:
    """The last text, which no batch has, is not saved with the turn."""

    def take(self: TurnStream) -> EventRow | None:
        return None

    return patch.object(TurnStream, "_take_rest", take)


def announcement_not_saved() -> contextlib.AbstractContextManager[Any]:
    """The save of a turn's begin leaves the announcement of its first attempt out."""
    real = UnitOfWork.tell

    def tell(self: UnitOfWork, row: EventRow) -> None:
        if row.events[0].type != "attempt.started":
            real(self, row)

    return patch.object(UnitOfWork, "tell", tell)


def attempt_goes_on_after_a_gap() -> contextlib.AbstractContextManager[Any]:
    """After a piece that storage refused the attempt tells more."""
    real = TurnStream._write

    async def write(self: TurnStream, attempt: _Attempt, *given: Any) -> None:
        await real(self, attempt, *given)
        attempt.is_broken = False

    return patch.object(TurnStream, "_write", write)


def resumed_from_the_last_saved() -> contextlib.AbstractContextManager[Any]:
    """Who comes again gets what is provisional from its beginning."""
    real = RunEvents.follow

    def follow(
        self: RunEvents, request: AdmittedRequest, *, after: EventId
    ) -> AsyncGenerator[RunEvent | None, None]:
        return real(self, request, after=EventId(after.saved))

    return patch.object(RunEvents, "follow", follow)


def latecomer_misses_what_was_read() -> contextlib.AbstractContextManager[Any]:
    """A second reader gets what the feed reads from now on, and not what it has read."""

    def list_after(self: Feed, position: EventId) -> list[Any]:
        return [row for row in self.rows[-1:] if row.last_id > position]

    return patch.object(Feed, "list_after", list_after)


PLANTED_IN_WATCHING = {
    "asked_again_as_the_first_attempt": asked_again_as_the_first_attempt,
    "provisional_events_stay": provisional_events_stay,
    "rest_of_the_text_not_told": rest_of_the_text_not_told,
    "rest_forgotten": rest_forgotten,
    "announcement_not_saved": announcement_not_saved,
    "attempt_goes_on_after_a_gap": attempt_goes_on_after_a_gap,
    "resumed_from_the_last_saved": resumed_from_the_last_saved,
    "latecomer_misses_what_was_read": latecomer_misses_what_was_read,
}
"""These bugs by their names on the command line."""
