"""Plants bugs in what wakes agents, to see whether the simulation finds them. Entry point:
`PLANTED_IN_WAKING`."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest.mock import patch

from aos.domain.cards.agent_card import Schedule
from aos.domain.cards.catalog import CatalogEntry, CatalogIndex
from aos.domain.cards.ticks import find_next_tick
from aos.domain.cloud_events import CloudEvent
from aos.errors import AosError
from aos.ports.agents import LiveAgent
from aos.services.admission import Admission, Admissions, EventRuns, RunRequest, schedules
from aos.services.catalog.reader import CatalogReader


def _without_a_key(door: str) -> contextlib.AbstractContextManager[Any]:
    real = Admissions.admit

    async def admit(self: Admissions, request: RunRequest, **how: Any) -> Admission:
        return await real(self, request, **how | ({"key": None} if how["door"] == door else {}))

    return patch.object(Admissions, "admit", admit)


def tick_without_a_key() -> contextlib.AbstractContextManager[Any]:
    """Each main that follows a tick starts a run of its own."""
    return _without_a_key("schedule")


def event_without_a_key() -> contextlib.AbstractContextManager[Any]:
    """Each delivery of an event starts a run of its own."""
    return _without_a_key("event")


def missed_ticks_one_by_one() -> contextlib.AbstractContextManager[Any]:
    """After an outage each tick that was missed starts a run."""

    def find(schedule: Schedule, *, after: datetime, until: datetime) -> datetime | None:
        tick = find_next_tick(schedule, after=after)
        return tick if tick is not None and tick <= until else None

    return patch.object(schedules, "find_last_tick", find)


def event_done_at_the_first_fault() -> contextlib.AbstractContextManager[Any]:
    """An event is done though an agent could not be woken."""
    real = EventRuns.wake

    async def wake(self: EventRuns, event: CloudEvent, **how: Any) -> None:
        with contextlib.suppress(AosError):
            await real(self, event, **how)

    return patch.object(EventRuns, "wake", wake)


def agents_wake_in_their_sleep() -> contextlib.AbstractContextManager[Any]:
    """What wakes an agent does not ask whether it is enabled."""
    real = CatalogReader._find

    async def find(self: CatalogReader, index: CatalogIndex, agent_id: str) -> LiveAgent:
        return replace(await real(self, index, agent_id), state="active")

    def can_run(self: CatalogEntry) -> bool:
        return self.serving_digest is not None

    stack = contextlib.ExitStack()
    stack.enter_context(patch.object(CatalogReader, "_find", find))
    stack.enter_context(patch.object(CatalogEntry, "can_run", property(can_run)))
    return stack


PLANTED_IN_WAKING = {
    "tick_without_a_key": tick_without_a_key,
    "event_without_a_key": event_without_a_key,
    "missed_ticks_one_by_one": missed_ticks_one_by_one,
    "agents_wake_in_their_sleep": agents_wake_in_their_sleep,
    "event_done_at_the_first_fault": event_done_at_the_first_fault,
}
"""These bugs by their names on the command line."""
