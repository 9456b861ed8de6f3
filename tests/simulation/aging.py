"""Do conversations end by their age, and only then? Entry point: `Aging`.

In worlds of the kind `age` agents wake by the clock, people ask them too, and their conversations
end when nothing has happened in them for a day. What is in use is not deleted by its age, whatever
comes just then; in the end all of them are.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from aos.domain.runs.run import RunStatus
from tests.simulation.apps import MainApp
from tests.simulation.deletions import SKEW
from tests.simulation.loop import START

if TYPE_CHECKING:
    from tests.simulation.world import World

DAY = 86400.0
LOOK_EVERY = 5 * 3600.0
BY_AGE = timedelta(hours=20)
"""A deletion of what was so long ago is one by age; a person's is of now."""
LIVES_FOR = timedelta(days=1, hours=11)
"""By then a conversation without messages is gone: its day, two looks, and retries."""


class Aging:
    """Watches the conversations of one world that end by their age."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._is_on = world.scenario.has("age")
        self._deleted: dict[str, object] = {}

    def begin(self) -> None:
        """Look for what is old just when somebody comes."""
        if not self._is_on:
            return
        for planned in self._world.scenario.requests:
            at = planned.at + self._world.rng.choice((-1.0, 0.0, 0.01, 0.1, 1.0))
            self._world.loop.call_later(max(at, 0.0), self._look_once)
            self._world.loop.call_later(at + DAY + 60 * self._world.rng.random(), self._look_once)

    def arm(self, app: MainApp) -> None:
        """Start the timer that looks for what is old."""
        if self._is_on:
            self._world.loop.call_later(LOOK_EVERY * self._world.rng.random(), self._look, app)

    def written(self, operation: str, key: str) -> None:
        """A row was written: what a deletion by age takes has been left alone for a day."""
        if not self._is_on or operation != "conversations.save":
            return
        rows = self._world.tables.conversations[key]
        at = rows.head.deleted_at
        if at is None or at == self._deleted.get(key):
            return
        self._deleted[key] = at
        if at > self._world.clock.now() - BY_AGE:
            return
        for run_id in sorted(self._world.checks.deletions.gone):
            run = rows.runs.get(run_id)
            is_used = run is not None and run.created_at > at + SKEW and run.status in _USED
            if is_used:
                self._world.checks.fail(f"{key} was deleted by its age, and {run_id} is of later")

    def verdict(self) -> None:
        """What was not used any more is gone."""
        if not self._is_on:
            return
        last_look = START + timedelta(seconds=self._world.loop.seconds) - LIVES_FOR
        for key, rows in self._world.tables.conversations.items():
            last = max((run.ended_at or run.created_at for run in rows.runs.values()), default=None)
            if last is not None and last < last_look and not rows.head.is_deleted:
                self._world.checks.fail(f"{key} was used last at {last}, and is there")

    def _look_once(self) -> None:
        apps = self._world.living(MainApp)
        if apps:
            app = self._world.rng.choice(apps)
            app.spawn(app.clean())

    def _look(self, app: MainApp) -> None:
        world = self._world
        from tests.simulation.world import LONGEST

        if app.alive and world.loop.seconds < world.scenario.fault_seconds + LONGEST - LOOK_EVERY:
            app.spawn(app.clean())
            world.loop.call_later(LOOK_EVERY, self._look, app)


_USED = (RunStatus.COMPLETED, RunStatus.IN_PROGRESS, RunStatus.QUEUED)
