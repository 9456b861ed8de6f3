"""Who pauses AOS in the simulation, and does the pause hold? Entry point: `Pausing`.

An operator pauses and resumes some worlds, the last time when all faults are over. Within five
seconds no admission passes the switch; one that passed it before is given up after ten seconds.
What came over the queue meanwhile waits, loses nothing, and is admitted within half a minute of the
resumption.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from aos.errors import StaleWrite, TransientError
from aos.services.admission.admissions import ADMISSION_SECONDS
from tests.simulation.loop import START
from tests.simulation.scenario import PlannedPause

if TYPE_CHECKING:
    from tests.simulation.apps import MainApp
    from tests.simulation.world import World

KNOWN_WITHIN = 5.0
"""A pause holds in every instance after so many seconds, if storage answers."""
TROUBLED_FOR = 30.0
"""A read that began so long before the pause may end in it."""
TAKEN_UP_WITHIN = 30.0
"""Requests that waited on the queue are admitted so soon after the resumption."""


class Pausing:
    """The operator's switch in one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._pauses: list[list[float]] = []
        self._admitted: dict[str, float] = {}

    def begin(self) -> None:
        """Come at the planned times."""
        for planned in self._world.scenario.pauses:
            work = partial(self._pause, planned)
            self._world.loop.call_later(planned.at, self._start, work)

    def head_written(self, body: bytes) -> None:
        """The catalog's head was written; it holds the switch."""
        is_paused, now = json.loads(body).get("pause") is not None, self._world.loop.seconds
        if is_paused and not self.holds_now:
            self._pauses.append([now])
        elif not is_paused and self.holds_now:
            self._pauses[-1].append(now)

    def written(self, operation: str, key: str) -> None:
        """A row was written: nothing new is admitted in a pause."""
        if operation != "requests.insert" or not self._pauses:
            return
        self._admitted[key] = self._world.loop.seconds
        request, skew = self._world.admitted[key], self._world.scenario.skew
        if request.door == "delegation":
            return
        at = (request.admitted_at - START).total_seconds()
        for pause in self._pauses:
            begun, ended = pause[0], pause[1] if len(pause) == 2 else float("inf")
            untroubled = self._world.weather.blobs_troubled_at < begun - TROUBLED_FOR
            if not untroubled or not begun + KNOWN_WITHIN + skew < at < ended - skew:
                continue
            if not self._was_under_way(key, begun + KNOWN_WITHIN, at=at):
                self._world.checks.fail(f"{key} was admitted {at - begun:.1f} s after a pause")

    def _was_under_way(self, run_id: str, until: float, *, at: float) -> bool:
        """Whether the admission of the run had looked for its row by then: what it asks for after
        it passed the switch may take long."""
        earliest = at - ADMISSION_SECONDS - self._world.scenario.skew
        return any(
            earliest <= seconds <= until
            and run_id in about
            and "requests.find" in f"{what} {about}"
            for seconds, _, what, about in self._world.story.events
        )

    def holds(self, begin: float, end: float) -> bool:
        """Whether a pause held some time between these seconds."""
        return any(p[0] < end and (len(p) == 1 or begin < p[1]) for p in self._pauses)

    def verdict(self) -> None:
        """Every pause came to its end, and what waited was taken up at once."""
        world = self._world
        if len(self._pauses) != len({tuple(p) for p in self._pauses}) or self.holds_now:
            world.checks.fail(f"pauses were left: {self._pauses}")
        for run_id, ask in world.asks.items():
            came = world.clients.came.get(run_id, 0.0)
            for begun, ended in self._pauses:
                if begun < world.scenario.fault_seconds or not begun < came < ended:
                    continue
                taken = self._admitted.get(run_id)
                if ask.over_queue and (taken is None or taken > ended + TAKEN_UP_WITHIN):
                    world.checks.fail(f"{run_id} waited for {ended}, was admitted at {taken}")

    @property
    def holds_now(self) -> bool:
        """Whether AOS is paused. What waits is sent again and again: copies would be legion."""
        return bool(self._pauses) and len(self._pauses[-1]) == 1

    def _start(self, work: partial[object]) -> None:
        self._world.spawn_client(work())  # type: ignore[arg-type]

    async def _pause(self, planned: PlannedPause) -> None:
        await self._do("pauses", pause)
        await self._world.loop.pause(planned.seconds)
        await self._do("resumes", resume)

    async def _do(self, what: str, work: object) -> None:
        """Try until it is done: an operator who resumes does not go away."""
        from tests.simulation.clients import CutConnection

        while True:
            try:
                await self._world.clients.at_main(work)  # type: ignore[arg-type]
            except (TransientError, StaleWrite, CutConnection):
                await self._world.loop.pause(10 * self._world.rng.random())
                continue
            self._world.story.events.append((self._world.loop.seconds, "operator", what, ""))
            return


async def pause(app: MainApp) -> None:
    """An admin pauses AOS."""
    await app.services.pause_switch.pause(by="operator", reason="")


async def resume(app: MainApp) -> None:
    """An admin resumes AOS."""
    await app.services.pause_switch.resume()
