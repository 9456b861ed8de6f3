"""Do readers get a watched run's text as it is written, once and whole? Entry point: `Watching`.

In worlds of the kind `watch` people ask with `stream: true`, or read the events of runs while they
happen: at any main, cut off by its death or by themselves, going on after the last id. Ids grow. No
event is missing or comes twice. The text of each attempt is what one answer of the model begins
with, and that of the last one is the message, unless storage refused a piece, two handlers were at
work, or a save that was given up landed after all. When all is done, no provisional row is left.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from aos.domain.runs.run_events import ENDS, EventId, RunEvent
from aos.errors import Refused, TransientError
from tests.simulation.apps import MainApp
from tests.simulation.loop import START

if TYPE_CHECKING:
    from tests.simulation.world import World

KEPT_SECONDS = 200.0
"""So long after a run's end its provisional events are there for certain, clocks included."""
FIRST_GAP, GAP_GROWS, LONGEST_GAP = 0.2, 2.5, 86400.0


@dataclass(slots=True)
class _Reader:
    """One reader of one run: what it got, and the text of the last attempt that it was told of."""

    run_id: str
    owner: str
    events: list[RunEvent] = field(default_factory=list)
    last: EventId = field(default_factory=EventId)
    text: str | None = None
    is_cut: bool = False
    is_done: bool = False


class Watching:
    """The readers of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._readers: list[_Reader] = []
        self.locks_lost = False
        """Two handlers may have been at one turn."""

    def read(self, run_id: str, *, owner: str, readers: int) -> None:
        """Let so many people read the events of a run."""
        for _ in range(readers):
            reader = _Reader(run_id=run_id, owner=owner)
            self._readers.append(reader)
            self._world.spawn_client(self._read(reader))

    def verdict(self) -> None:
        """Every reader came to the end, and what was provisional is gone."""
        world = self._world
        for reader in self._readers:
            if not world.checks.is_scrubbed(reader.run_id):
                self._came_to_the_end(reader)
        for key, rows in world.tables.conversations.items():
            left = sorted(row.last_id for row in rows.events.values() if row.last_id.is_provisional)
            if left and not self.locks_lost:
                world.checks.fail(f"provisional events were left in {key}: {left}")

    def _came_to_the_end(self, reader: _Reader) -> None:
        run, fail = self._world.checks.ended.get(reader.run_id), self._world.checks.fail
        if run is None:
            return  # it was refused, or is missed elsewhere
        told = [event.type for event in reader.events if event.is_end]
        if not reader.is_done or told != [ENDS[run.status]] or not reader.events[-1].is_end:
            fail(f"a reader of {reader.run_id}, which ended {run.status}, was told {told}")

    async def _read(self, reader: _Reader) -> None:
        """Read until the end, with pauses. Who is cut off comes again."""
        from tests.simulation.clients import CutConnection

        world, gap = self._world, FIRST_GAP
        while not reader.is_done:
            await world.loop.pause(gap * world.rng.random())
            gap = min(gap * GAP_GROWS, LONGEST_GAP)
            seconds = world.rng.choice((1.0, 4.0, 12.0)) if gap < LONGEST_GAP else 2.0
            try:
                await world.clients.at_main(partial(self._follow, reader, seconds))
            except Refused:
                if gap >= LONGEST_GAP:
                    return  # its request was refused
            except (TransientError, CutConnection):
                pass

    async def _follow(self, reader: _Reader, seconds: float, app: MainApp) -> None:
        request = await app.services.runs.find_request(reader.run_id, owner=reader.owner)
        following = app.services.run_events.follow(request, after=reader.last)
        try:
            async with asyncio.timeout(seconds), aclosing(following):
                async for events in following:
                    for event in events:
                        self._take(reader, event)
        except TimeoutError:
            return
        reader.is_done = True

    def _take(self, reader: _Reader, event: RunEvent) -> None:
        """Look at one more event of a reader."""
        last, now = reader.last, event.event_id
        who = f"a reader of {reader.run_id} got {event.type} {now} after {last}"
        if not now > last:
            self._world.checks.fail(f"{who}: ids do not grow")
        if now.is_provisional:
            self._take_provisional(reader, event, who)
        elif now.saved != last.saved + 1 and not self._world.checks.is_scrubbed(reader.run_id):
            self._world.checks.fail(f"{who}: something is missing")
        if event.type == "message.completed":
            self._compare(reader, event, who)
        reader.last = now
        reader.events.append(event)

    def _take_provisional(self, reader: _Reader, event: RunEvent, who: str) -> None:
        last, now, fail = reader.last, event.event_id, self._world.checks.fail
        follows = (now.saved, now.attempt, now.part - 1) == (last.saved, last.attempt, last.part)
        begins = now.saved == last.saved and now.attempt > last.attempt and now.part == 1
        if not (begins if event.type == "attempt.started" else follows and now.part > 1):
            fail(f"{who}: a piece is missing")
        if event.type == "attempt.started":
            reader.text, reader.is_cut = "", False
            return
        reader.is_cut = reader.is_cut or bool(event.data.get("cut"))
        reader.text = (reader.text or "") + event.data["text"]
        question = self._world.admitted[reader.run_id].message
        asked = [one.told for one in self._world.oracle.asked if one.question == question]
        if not any(told.startswith(reader.text) for told in asked):
            fail(f"{who}: no answer of the model begins with {reader.text!r}")

    def _compare(self, reader: _Reader, event: RunEvent, who: str) -> None:
        """The text of the last attempt is the message, or begins it."""
        text, reader.text = reader.text, None
        content = event.data.get("content")
        if (
            text is None
            or content is None
            or self._is_troubled(reader)
            or not self._is_told(reader, content)
        ):
            return
        if not content.startswith(text) or (not reader.is_cut and text != content):
            self._world.checks.fail(f"{who}: it was told {text!r}, the message is {content!r}")

    def _is_troubled(self, reader: _Reader) -> bool:
        """Whether the message may be another attempt's: two handlers were at the turn, a piece was
        not written, or a save that was given up landed while the turn was asked again."""
        weather = self._world.weather
        conversation_id = self._world.admitted[reader.run_id].conversation_id
        is_late = conversation_id in weather.saved_late
        return self.locks_lost or is_late or reader.run_id in weather.streams_troubled

    def _is_told(self, reader: _Reader, content: str) -> bool:
        """Whether the answer was streamed, and its pieces are there: they go after the run's end,
        and what nobody has watched for ten minutes is not streamed."""
        if not any(one.told == content for one in self._world.oracle.asked):
            return False
        run = self._world.checks.ended.get(reader.run_id)
        if run is None or run.ended_at is None:
            return True
        since = self._world.loop.seconds - (run.ended_at - START).total_seconds()
        return since < KEPT_SECONDS
