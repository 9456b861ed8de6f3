"""What is a simulated world: storage, bus, apps, clients, and what goes wrong?

Built from a seed alone; `run` lets it happen and returns what did not hold, or None.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from aos.adapters.memory import (
    Kept,
    MemoryBroker,
    MemoryTables,
    SeededIds,
)
from aos.adapters.memory.blobs import MemoryBlobStore
from aos.domain.cards.catalog import CatalogIndex
from aos.domain.envelope import REQUESTS_QUEUE, GivenUp
from aos.domain.runs.run import AdmittedRequest, run_id_for
from aos.entrypoints.bus.senders import OWNERS
from aos.services.catalog import storage
from tests.simulation.aging import Aging
from tests.simulation.apps import App, MainApp, McpApp, RealmApp
from tests.simulation.asks import Ask
from tests.simulation.budgets import Budgets
from tests.simulation.checks import Checks
from tests.simulation.clients import Clients
from tests.simulation.deletions import Deleted
from tests.simulation.events import Events
from tests.simulation.faults import Weather
from tests.simulation.letters import Letters
from tests.simulation.loop import START, VirtualClock, VirtualLoop
from tests.simulation.model import Oracle, SimModel
from tests.simulation.one_by_one import OneByOne
from tests.simulation.pausing import Pausing
from tests.simulation.pump import Pump
from tests.simulation.queues import QUEUES
from tests.simulation.receivers import make_receivers
from tests.simulation.scenario import Outage, Scenario
from tests.simulation.story import Story
from tests.simulation.tools import Box, listed
from tests.simulation.verdict import verdict
from tests.simulation.versions import KEPT, NEW, OLDER, WIRE, Version, Versions
from tests.simulation.waking import Waking
from tests.simulation.watching import Watching

A = TypeVar("A", bound=App)
MOST_MESSAGES = 50_000
"""More messages than any world sends whose commands end."""
MEND_EVERY = 30.0
CLEAN_EVERY = 120.0
FAR = 20 * 86400.0
"""What is due so much later is not waited for: the end of a deleted conversation's head."""
COPIED_WAITS = 0.1
COPY_DELAYS = (0.0, 0.5, 30.0, 400.0, 1500.0, 86400.0, 3 * 86400.0)
RESULT_DELAYS = (0.3, 1.0, 5.0)
LONGEST = 7 * 86400.0
"""After the last fault everything must have ended within this time."""


@dataclass(frozen=True, slots=True)
class Published:
    """A catalog head as it was written: when, and the index that it names."""

    seconds: float
    index: str


class World:
    """One seed's world."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.rng = random.Random(scenario.seed)
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop)
        self.ids = SeededIds(random.Random(scenario.seed + 1))
        self.story = Story()
        self.weather = Weather(
            rng=self.rng,
            mean_operations=scenario.mean_operations,
            kinds=scenario.fault_kinds,
            hang_share=scenario.hang_share,
            cancel_share=scenario.cancel_share,
            stream_share=scenario.stream_share,
        )
        self.tables = MemoryTables()
        self.broker = MemoryBroker(clock=self.clock)
        self.config = MemoryBlobStore(clock=self.clock)
        self.data = MemoryBlobStore(clock=self.clock)
        self.logs = MemoryBlobStore(clock=self.clock)
        self.oracle = Oracle()
        self.box = Box()
        self.delays: defaultdict[str, float] = defaultdict(float)
        """How many seconds late messages were, in all, by their ids."""
        self.receivers = make_receivers(scenario.seed)
        self.pushed: set[str] = set()
        """The tasks whose receiver was written before the client saw their end."""
        self.checks = Checks(self)
        self.one_by_one = OneByOne(self)
        self.budgets = Budgets(self)
        self.waking = Waking(self)
        self.letters = Letters(self)
        self.events = Events(self)
        self.watching = Watching(self)
        self.aging = Aging(self)
        self.versions = Versions(self)
        self.pausing = Pausing(self)
        self.pump = Pump(self)
        self._chances_of_versions = random.Random(scenario.seed + 3)
        self.asks: dict[str, Ask] = {}
        self.accepted: set[str] = set()
        self.admitted: dict[str, AdmittedRequest] = {}
        self.deletions: list[Deleted] = []
        self.cancel_commands: dict[str, bool] = {}
        self.catalog: list[Published] = []
        self.indexes: list[CatalogIndex] = []
        self.apps: dict[str, App] = {}
        self.refused_codes: dict[str, str] = {}
        self._results: dict[str, Kept] = {}
        self._armed: set[str] = set()
        self._cleaning: set[str] = set()
        self._clients: set[asyncio.Task[None]] = set()
        self._calm = False
        self.clients = Clients(self)
        self.tables.watchers += [
            self._insert,
            self.checks.tell_watchers,
            self.one_by_one.written,
            self.budgets.written,
            self._written,
            self.events.written,
            self.pausing.written,
            self.checks.deletions.written,
            self.aging.written,
            self.versions.written,
        ]
        self._sent = 0
        self.broker.watchers += [self._message, self.checks.message]
        for number in range(scenario.mains):
            self._start(MainApp, f"main{number}")
        for number in range(scenario.realms):
            self._start(RealmApp, f"realm{number}")
        for number in range(scenario.mcps):
            self._start(McpApp, f"mcp{number}")

    def run(self) -> str | None:
        """Let everything happen; what did not hold, or None."""
        try:
            self.clients.begin()
            self.waking.begin()
            self.aging.begin()
            self.pausing.begin()
            self.tables.tools["box"] = listed(self)
            for outage in self.scenario.outages:
                self.loop.call_later(outage.start, self._outage, outage)
            self.weather.begin()
            self.loop.run_to(self.scenario.fault_seconds)
            self._end_faults()
            self.loop.run_to(self.scenario.fault_seconds + LONGEST)
            if self.checks.failure is None:
                verdict(self)
            return self.checks.failure
        finally:
            self._close()

    def choose_version(self) -> Version:
        """The version of an instance that starts: this one, or a newer one."""
        if self.scenario.mixed_versions:
            return self._chances_of_versions.choice((NEW, OLDER))
        return WIRE if self.scenario.over_the_wire else KEPT

    def spawn_client(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something outside of the apps."""
        task = self.loop.create_task(work)
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    def living(self, kind: type[A]) -> list[A]:
        """The instances of an app that are alive."""
        return [app for app in self.apps.values() if app.alive and isinstance(app, kind)]

    def model_for(self, app: App) -> SimModel:
        """The model as an instance sees it."""
        return SimModel(
            record=self.oracle,
            intercept=app.intercept,
            loop=self.loop,
            weather=self.weather,
            rng=self.rng,
        )

    def died(self, app: App) -> None:
        """A process is gone: its locks expire within a minute, and the platform starts another."""
        self.pump.expire_locks(app, within=60 * self.rng.random())
        self.loop.call_later(1 + 40 * self.rng.random() ** 2, self._start, type(app), app.name)

    def raised(self, error: Exception) -> None:
        """A handler raised what no handler may raise, unless a bug was planned. That a delivery
        was not given up too early is looked at when its end is sent."""
        is_planned = isinstance(error, RuntimeError) and "planned" in str(error)
        if not is_planned and not isinstance(error, GivenUp):
            self.checks.fail(f"a handler raised {error!r}")

    def refused(self, run_id: str, code: str) -> None:
        """A run was refused, just now: that must be true now, however late the reply is sent."""
        self.one_by_one.refused(run_id, code)
        self.budgets.refused(run_id, code)

    def repeat_result(self, conversation_id: str) -> None:
        """The last result comes again, when what it asked has been answered."""
        kept = self._results.get(conversation_id)
        if kept is not None and not self._calm and self.scenario.copy_share:
            self._copy_later(kept, RESULT_DELAYS)

    def parse_run_id(self, kept: Kept) -> str:
        """The run that a request message asks for."""
        message = kept.build_received()
        owner = f"{OWNERS}{message.properties['aos_owner']}"
        return run_id_for(scope=f"queue:{REQUESTS_QUEUE}:{owner}", key=message.key)

    def requests_in(self, conversation_id: str) -> int:
        """How many requests were made on a conversation."""
        return sum(
            1
            for run_id, ask in self.asks.items()
            if (ask.conversation_id or run_id) == conversation_id
        ) + self.waking.count_runs(conversation_id)

    def blob_done(self, operation: str, name: str) -> None:
        """A blob operation took effect: remember each published head."""
        if operation == "write" and name == storage.HEAD:
            self.pausing.head_written(self.data.body_of(name))
            head = json.loads(self.data.body_of(name))
            self.catalog.append(Published(self.loop.seconds, head["index"]))

    def _start(self, kind: type[App], name: str) -> None:
        app = self.apps[name] = kind(self, name)
        self._armed.discard(name)
        self._cleaning.discard(name)
        for entity in QUEUES:
            self.pump.poke(entity)
        if isinstance(app, MainApp):
            self.waking.arm(app)
            if self.tables.pending:
                self._arm(app)
            if self.tables.due:
                self._arm_cleaning(app)
            self.aging.arm(app)

    def _message(self, what: str, kept: Kept) -> None:
        """A message was sent: it is looked for when it is visible, maybe late, maybe twice."""
        if what == "abandon":
            self.pump.poke(kept.entity, seconds=0.05)
        if what != "send":
            return
        if self.letters.takes(kept):
            return
        now, scenario = self.clock.now(), self.scenario
        note = (self.loop.seconds, "bus", "✉", f"{kept.entity} {kept.message_id}")
        self.story.events.append(note)
        self._sent += 1
        if self._sent > MOST_MESSAGES:
            self.checks.fail(f"{self._sent} messages were sent, the last one was {kept.message_id}")
        if not self._calm and kept.entity in QUEUES:
            if self.rng.random() < scenario.delay_share and kept.visible_at <= now:
                late = scenario.longest_delay * self.rng.random() ** 3
                kept.visible_at = now + timedelta(seconds=late)
                self.delays[str(kept.message_id)] += late
            is_copied = self.rng.random() < scenario.copy_share and not self.pausing.holds_now
            if ":notify:" in str(kept.message_id) and kept.visible_at > now:
                # what waits for a busy receiver: each copy waits, so that copies of copies storm
                is_copied = is_copied and self.rng.random() < COPIED_WAITS
            if is_copied:
                self._copy_later(kept, COPY_DELAYS)
        if str(kept.message_id).endswith(":result"):
            self._results[str(kept.session_id)] = kept
        seconds = (kept.visible_at - START).total_seconds() - self.loop.seconds
        self.pump.poke(kept.entity, seconds=max(seconds, 0.0) + 0.001)

    def _copy_later(self, kept: Kept, delays: tuple[float, ...]) -> None:
        if kept.properties.get("sim_copy"):
            return
        delay = self.rng.choice(delays)
        copy: dict[str, Any] = {
            "message_id": kept.message_id,
            "session_id": kept.session_id,
            "correlation_id": kept.correlation_id,
            "content_type": kept.content_type,
            "properties": {**kept.properties, "sim_copy": True},
        }
        visible = (kept.visible_at - START).total_seconds() - self.loop.seconds

        def send() -> None:
            self.broker.send(kept.entity, kept.body, **copy)

        self.loop.call_later(max(visible, 0.0) + delay, send)

    def _written(self, operation: str, key: str) -> None:
        if operation == "due.put":
            for app in self.living(MainApp):
                self._arm_cleaning(app)
        if operation == "decisions.ask":
            self.clients.asked(key)
        if operation == "questions.ask":
            self.clients.questioned(key)
        if operation.startswith("tool_calls."):
            self.box.tasks.note_saved(self, key)
        if operation == "pending.put":
            for app in self.living(MainApp):
                self._arm(app)

    def _insert(self, operation: str, key: str) -> None:
        """Remember a request as it was admitted; a deletion scrubs its row."""
        if operation == "requests.insert":
            request = self.admitted[key] = self.tables.requests[key].request
            ask = self.clients.keyless.get(request.metadata.get("n", ""))
            if ask is not None:
                self.asks[key] = ask

    def _arm_cleaning(self, app: MainApp) -> None:
        if app.name not in self._cleaning:
            self._cleaning.add(app.name)
            self.loop.call_later(CLEAN_EVERY * (0.1 + self.rng.random()), self._clean, app)

    def _clean(self, app: MainApp) -> None:
        """The cleaning's timer; ticks that would find nothing are left out."""
        if not app.alive:
            return
        first = min((due.due_at for due in self.tables.due.values()), default=None)
        wait = 0.0 if first is None else (first - self.clock.now()).total_seconds()
        if first is None or wait > FAR:
            self._cleaning.discard(app.name)
            return
        if wait <= 0:
            app.spawn(app.clean())
        self.loop.call_later(CLEAN_EVERY * max(1, int(wait // CLEAN_EVERY) + 1), self._clean, app)

    def _arm(self, app: MainApp) -> None:
        if app.name not in self._armed:
            self._armed.add(app.name)
            self.loop.call_later(MEND_EVERY * (0.1 + self.rng.random()), self._mend, app)

    def _mend(self, app: MainApp) -> None:
        """The mender's timer; ticks that would find nothing are left out."""
        if not app.alive:
            return
        if not self.tables.pending:
            self._armed.discard(app.name)
            return
        first = min(row.next_check for row in self.tables.pending.values())
        wait = (first - self.clock.now()).total_seconds()
        if wait <= 0:
            app.spawn(app.mend())
        ticks = max(1, int(wait // MEND_EVERY) + 1)
        self.loop.call_later(MEND_EVERY * ticks, self._mend, app)

    def _outage(self, outage: Outage) -> None:
        self.weather.away |= {outage.what}
        self.story.events.append((self.loop.seconds, "WORLD", f"✗ no {outage.what}", ""))
        if outage.what == "bus":
            self.loop.call_later(60, self._lose_all_locks)
        self.loop.call_later(outage.seconds, self._back, outage)

    def _lose_all_locks(self) -> None:
        if "bus" in self.weather.away:
            for app in self.living(App):
                app.lose_locks()

    def _back(self, outage: Outage) -> None:
        self.weather.away -= {outage.what}
        self.story.events.append((self.loop.seconds, "WORLD", f"{outage.what} is back", ""))
        for entity in QUEUES:
            self.pump.poke(entity)

    def _end_faults(self) -> None:
        self._calm = True
        self.weather.calm()
        self.story.events.append((self.loop.seconds, "WORLD", "no more faults", ""))
        for entity in QUEUES:
            self.pump.poke(entity)

    def _close(self) -> None:
        for app in self.apps.values():
            app.alive = False
        self.loop.cancel_all()
