"""Dead letters in the simulation, and the operator who replays them. Entry point: `Letters`.

In worlds of the kind `letters` the broker gives some requests up before a handler has seen them.
An operator replays every dead letter until none is left; the instance that serves the operator may
die in between. So a replay must neither lose a request nor run it twice.

In every world a delivery to a receiver that fails a day after its first try is given up, and is a
dead letter of `aos-main`: a copy of its message may come that late. None is given up earlier.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from aos.adapters.memory import Kept
from aos.domain.envelope import MAIN_QUEUE, REQUESTS_QUEUE
from aos.domain.webhooks import GIVE_UP_AFTER
from aos.errors import Refused, TransientError
from tests.simulation.apps import MainApp
from tests.simulation.loop import START

if TYPE_CHECKING:
    from tests.simulation.world import World

REASON = "MaxDeliveryCountExceeded"
SHARE = 0.5
"""So many of the requests over the queue die."""
LOOK_EVERY = 20.0


class Letters:
    """The dead letters of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._looking = False
        self._died: Counter[str] = Counter()
        self._planned: set[int] = set()
        self._first_tries: dict[str, float] = {}
        self._given_up: set[str] = set()

    def takes(self, kept: Kept) -> bool:
        """Whether this message dies now: a request that a client has sent, before anybody handles
        it."""
        world = self._world
        mine = kept.entity == REQUESTS_QUEUE and not str(kept.message_id).startswith("replay:")
        if not world.scenario.has("letters") or not mine or kept.properties.get("attempt"):
            return False
        if world.pausing.holds_now or world.rng.random() >= SHARE:
            return False  # what waits for the end of a pause is sent again and again
        self._died[world.parse_run_id(kept)] += 1
        self._planned.add(kept.sequence_number)
        world.broker.give_up(kept, reason=REASON)
        if not self._looking:
            self._looking = True
            self._look_later()
        return True

    def is_planned(self, kept: Kept) -> bool:
        """Whether this dead letter was meant to be one."""
        if kept.entity == MAIN_QUEUE:
            return kept.message_id in self._given_up
        return kept.entity == REQUESTS_QUEUE and kept.sequence_number in self._planned

    def delivery_sent(self, kept: Kept, body: dict[str, Any]) -> None:
        """A try of a delivery was sent, or its end: a day after the first try, by any clock."""
        name, now = str(kept.message_id), self._world.loop.seconds
        delivery = name.rpartition(":notify:")[0]
        if body.get("since") is not None:
            since = (datetime.fromisoformat(body["since"]) - START).total_seconds()
            self._first_tries.setdefault(delivery, since)
        if not body.get("given_up"):
            return
        self._given_up.add(name)
        first, least = self._first_tries.get(delivery, now), GIVE_UP_AFTER.total_seconds()
        if now - first < least - 2 * self._world.scenario.skew:
            self._world.checks.fail(f"{delivery} was given up {now - first:.0f} s after a try")

    def _look_later(self) -> None:
        delay = LOOK_EVERY * (0.1 + self._world.rng.random())
        self._world.loop.call_later(delay, self._start)

    def _start(self) -> None:
        self._world.spawn_client(self._look())

    async def _look(self) -> None:
        """Replay what lies there now, twice now and then, and look again later."""
        world = self._world
        for kept in world.broker.dead_letters(REQUESTS_QUEUE):
            for _ in range(world.rng.choice((1, 1, 2))):
                await self._replay(kept.sequence_number)
        self._looking = bool(world.broker.dead_letters(REQUESTS_QUEUE))
        if self._looking:
            self._look_later()

    async def _replay(self, number: int) -> None:
        from tests.simulation.clients import CutConnection

        try:
            await self._world.clients.at_main(partial(replay, number=number))
        except (Refused, TransientError, CutConnection) as error:
            self._tell("replay failed", f"{number}: {error}")
        else:
            self._tell("replayed", str(number))

    def _tell(self, what: str, about: str) -> None:
        self._world.story.events.append((self._world.loop.seconds, "operator", what, about))

    def verdict(self) -> None:
        """No dead letter is left, and no run was asked again more than once."""
        world = self._world
        for kept in world.broker.dead_letters(REQUESTS_QUEUE):
            world.checks.fail(f"the dead letter {kept.message_id} was not replayed")
        rows = world.tables.requests.values()
        again = Counter(row.request.replay_of for row in rows if row.request.replay_of)
        for run_id, times in again.items():
            if times > self._died[run_id]:
                world.checks.fail(f"{run_id} died {self._died[run_id]} times, was asked {times}")


async def replay(app: MainApp, *, number: int) -> None:
    """An admin replays one dead letter."""
    await app.main.dead_letter_service.replay(REQUESTS_QUEUE, number)
