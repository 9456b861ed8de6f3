"""Plants bugs in the events of runs, to see whether the simulation finds them. Entry point:
`PLANTED_IN_EVENTS`."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest.mock import patch

from aos.adapters.memory import MemoryConversationStore
from aos.domain.runs.conversation import Conversation, Step
from aos.services.execution import unit_of_work


def last_event_id_not_saved() -> contextlib.AbstractContextManager[Any]:
    """The head forgets the id of the active run's last event."""
    real = unit_of_work.record_events

    def record(before: Conversation, step: Step, *, now: datetime) -> Step:
        told = real(before, step, now=now)
        return replace(told, conversation=step.conversation)

    return patch.object(unit_of_work, "record_events", record)


def events_in_a_write_of_their_own() -> contextlib.AbstractContextManager[Any]:
    """Events are written after what they tell; who dies in between writes none."""
    real = MemoryConversationStore.save

    async def save(
        self: MemoryConversationStore,
        step: Step,
        *,
        etag: str | None,
        new_run_id: str | None = None,
    ) -> str:
        saved = await real(self, replace(step, events=()), etag=etag, new_run_id=new_run_id)
        if not step.events:
            return saved
        late = Step(conversation=step.conversation, events=step.events)
        return await real(self, late, etag=saved)

    return patch.object(MemoryConversationStore, "save", save)


PLANTED_IN_EVENTS = {
    "last_event_id_not_saved": last_event_id_not_saved,
    "events_in_a_write_of_their_own": events_in_a_write_of_their_own,
}
"""These bugs by their names on the command line."""
