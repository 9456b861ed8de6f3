"""Who wakes agents in the simulation, and was each tick and each event followed once?

In worlds of the kind `wake` mains look at schedules each minute, and others publish events, some
twice. `Waking` plays both, watches that an event is done only when it woke everybody, and at the
end looks at the ticks: one run each, one for an outage, none lost while all is calm.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from aos.adapters.memory import Kept
from aos.domain.cloud_events import STRUCTURED, CloudEvent, read_cloud_event
from aos.domain.envelope import AGENT_EVENTS, MAIN_QUEUE, WAKE_SUBSCRIPTION
from aos.domain.runs.run import AdmittedRequest, run_id_for
from tests.simulation.loop import START
from tests.simulation.sleeping import list_sleeps

if TYPE_CHECKING:
    from tests.simulation.apps import MainApp
    from tests.simulation.world import World

LOOK_EVERY = 60.0
CALM_SECONDS = 1800.0
"""The timers go on for so long after the last fault; then the world may come to its end."""
SLACK = timedelta(seconds=300)
"""How long after the time of a tick its admission may take: what hangs is given up by then."""
HOUR = timedelta(hours=1)
ASLEEP_WITHIN = 45.0
"""So many seconds after a card was disabled or removed nothing wakes its agent, clocks included."""
PERIODS = {"early": timedelta(minutes=5), "late": timedelta(minutes=20)}
AGING_PERIODS = {"diary": timedelta(hours=8), "notes": timedelta(hours=8)}
AGING_LOOK_EVERY, AGING_CALM_SECONDS = 1200.0, 36_000.0
ORDER = "com.example.order"
CARDS: dict[str, dict[str, Any]] = {
    "early": {
        "agent_id": "early",
        "purpose": "Wake.",
        "wake": {
            "schedules": [{"cron": "*/5 * * * *", "message": "A tick?"}],
            "events": [{"type": ORDER, "message": "An order?", "conversation": "new"}],
        },
    },
    "late": {
        "agent_id": "late",
        "purpose": "Wake.",
        "wake": {
            "schedules": [
                {
                    "cron": "*/20 * * * *",
                    "time_zone": "Europe/Berlin",
                    "message": "Late?",
                    "conversation": "new",
                }
            ],
            "events": [{"type": ORDER, "message": "An order, too?"}],
        },
    },
}
AGING: dict[str, dict[str, Any]] = {
    agent_id: {
        "agent_id": agent_id,
        "purpose": "Wake, and forget.",
        "memory": {"ttl_days": 1},
        "wake": {
            "schedules": [
                {"cron": "0 */8 * * *", "message": "A page?", "conversation": conversation}
            ]
        },
    }
    for agent_id, conversation in (("diary", "diary-book"), ("notes", "new"))
}
"""Agents that wake, and whose conversations end when nothing has happened in them for a day."""


class Waking:
    """The clock and the events of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._events: list[CloudEvent] = []
        ages = world.scenario.has("age")
        self._is_on = ages or world.scenario.has("wake")
        self._periods = AGING_PERIODS if ages else PERIODS
        self._look_every = AGING_LOOK_EVERY if ages else LOOK_EVERY
        calm = AGING_CALM_SECONDS if ages else CALM_SECONDS
        self._ends = world.scenario.fault_seconds + calm
        if self._is_on:
            world.broker.watchers.append(self._settled)

    def begin(self) -> None:
        """Publish the events at their times, some of them again."""
        world = self._world
        for planned in world.scenario.events:
            event = CloudEvent(id=planned.name, source="shop", type=ORDER, data='{"n": 1}')
            self._events.append(event)
            for at in planned.at:
                world.loop.call_later(at, self._publish, event, planned.binary)

    def arm(self, app: MainApp) -> None:
        """Start the timer of an instance of main."""
        if self._is_on:
            seconds = self._look_every * (0.1 + self._world.rng.random())
            self._world.loop.call_later(seconds, self._look, app)

    def count_runs(self, conversation_id: str) -> int:
        """How many runs were woken in a conversation."""
        if not self._is_on:
            return 0
        return sum(one.conversation_id == conversation_id for one in self._woken())

    def verdict(self) -> None:
        """Look at the end: ticks and events, each once."""
        if not self._is_on:
            return
        for agent_id, period in self._periods.items():
            self._ticks(agent_id, period)
            self._slept(agent_id)
        for event in self._events:
            for run_id in self._runs_of(event):
                if run_id not in self._world.tables.requests:
                    self._world.checks.fail(f"{event.id} did not wake the agent of {run_id}")
        woken = sum(one.door == "event" for one in self._woken())
        if woken > len(self._periods) * len(self._events):
            self._world.checks.fail(f"{len(self._events)} events started {woken} runs")

    def _slept(self, agent_id: str) -> None:
        """Who was disabled or removed while nothing was wrong was not woken."""
        for begun, ended in list_sleeps(self._world, agent_id):
            if begun < self._world.scenario.fault_seconds:
                continue
            awake_at = ended - self._world.scenario.skew  # `admitted_at` is by the clock of a main
            for one in self._woken():
                at = (one.admitted_at - START).total_seconds()
                if one.agent_id == agent_id and begun + ASLEEP_WITHIN < at < awake_at:
                    self._world.checks.fail(f"{agent_id} was away since {begun}, and woke at {at}")

    def _look(self, app: MainApp) -> None:
        if app.alive and self._world.loop.seconds < self._ends:
            app.spawn(app.wake())
            self._world.loop.call_later(self._look_every, self._look, app)

    def _publish(self, event: CloudEvent, binary: bool) -> None:
        attributes = {
            "specversion": "1.0",
            "id": event.id,
            "source": event.source,
            "type": event.type,
        }
        data = {"n": 1}
        properties = {f"cloudEvents:{name}": value for name, value in attributes.items()}
        body = data if binary else {**attributes, "data": data}
        self._world.broker.send(
            AGENT_EVENTS,
            json.dumps(body).encode(),
            message_id=event.id,
            content_type="application/json" if binary else STRUCTURED,
            properties=properties if binary else {},
        )

    def _settled(self, what: str, kept: Kept) -> None:
        """An event that is done has woken everybody, or comes again."""
        if what != "complete" or not _is_event(kept):
            return
        event = _read(kept)
        broker = self._world.broker
        others = [*broker.messages(WAKE_SUBSCRIPTION), *broker.messages(MAIN_QUEUE)]
        if any(_is_event(other) and _read(other) == event for other in others):
            return
        for run_id in self._runs_of(event):
            if run_id not in self._world.tables.requests:
                self._world.checks.fail(f"{event.id} was done before it woke all agents")

    def _woken(self) -> list[AdmittedRequest]:
        rows = [self._world.admitted[run_id] for run_id in self._world.tables.requests]
        return [row for row in rows if row.door in ("schedule", "event")]

    def _ticks(self, agent_id: str, period: timedelta) -> None:
        """One run a tick, none an hour late, one for those that were missed together."""
        fail = self._world.checks.fail
        found: dict[datetime, datetime] = {}
        for one in self._woken():
            if one.door != "schedule" or one.agent_id != agent_id:
                continue
            tick = datetime.fromisoformat(one.metadata["woken_by"]["schedule"]["tick"])
            if tick in found:
                fail(f"{agent_id} has two runs of the tick {tick}")
            if one.admitted_at > tick + HOUR + SLACK:
                fail(f"{agent_id} woke at {one.admitted_at} for {tick}")
            found[tick] = one.admitted_at
        ticks = sorted(found)
        for tick, following in pairwise(ticks):
            if found[tick] > following + SLACK:
                fail(f"{agent_id} woke for {tick} and for {following} after both were over")
        calm = START + timedelta(seconds=self._world.scenario.fault_seconds + 2 * self._look_every)
        end = START + timedelta(seconds=self._ends - 2 * self._look_every)
        tick = START + period * ((calm - START) // period + 1)
        while tick <= end:
            if tick not in found and not self._is_excused(agent_id, tick):
                fail(f"nothing was wrong, and {agent_id} slept at {tick}")
            tick += period

    def _is_excused(self, agent_id: str, tick: datetime) -> bool:
        """Whether the agent was away at this tick, or AOS was paused."""
        at = (tick - START).total_seconds()
        if self._world.pausing.holds(at - 2 * self._look_every, at + 2 * self._look_every):
            return True
        sleeps = list_sleeps(self._world, agent_id)
        before = self._look_every + self._world.scenario.skew
        return any(begun - before < at < ended + 2 * self._look_every for begun, ended in sleeps)

    def _runs_of(self, event: CloudEvent) -> list[str]:
        """The runs that the event starts for certain: those of agents that were never away."""
        return [
            run_id_for(scope=f"event:{agent_id}", key=event.key)
            for agent_id in self._periods
            if not list_sleeps(self._world, agent_id)
        ]


def _is_event(kept: Kept) -> bool:
    return kept.entity == WAKE_SUBSCRIPTION or "aos_postponed_from" in kept.properties


def _read(kept: Kept) -> CloudEvent:
    return read_cloud_event(kept.body, content_type=kept.content_type, properties=kept.properties)
