"""Hands messages to the apps and settles them as the Functions host does. Entry point: `Pump`.

It completes what a trigger returns from and abandons what it raises at. One message at a time in a
session, many sessions and messages side by side.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from aos.adapters.memory import Kept, Session
from aos.domain.envelope import (
    MAIN_QUEUE,
    MCP_QUEUE,
    REALM_QUEUE,
    REQUESTS_QUEUE,
    WAKE_SUBSCRIPTION,
)
from aos.errors import SessionLost, TransientError
from aos.ports.bus import ReceivedMessage
from aos.testing.triggers import make_trigger_message
from tests.simulation.apps import App, MainApp, McpApp, RealmApp
from tests.simulation.queues import QUEUES

if TYPE_CHECKING:
    from tests.simulation.world import World

HELD = timedelta(days=300)
"""Locks are renewed as long as their holder lives."""
Settlement: TypeAlias = str


class Pump:
    """Gives what is receivable to living instances."""

    def __init__(self, world: World) -> None:
        self._world = world

    def poke(self, entity: str, *, seconds: float = 0.0) -> None:
        """Look at an entity then."""
        self._world.loop.call_later(seconds, self._look, entity)

    def expire_locks(self, app: App, *, within: float) -> None:
        """Locks that this instance holds expire within so many seconds."""
        world = self._world
        until = world.clock.now() + timedelta(seconds=within)
        for session in app.sessions:
            session.locked_until = until
            for kept in world.broker.messages(REALM_QUEUE):
                if kept.lock == session.lock:
                    kept.locked_until = until
        for kept in app.messages.values():
            if kept.lock is not None:
                kept.locked_until = until
        app.sessions.clear()
        app.messages.clear()
        for entity in QUEUES:
            self.poke(entity, seconds=within + 0.01)

    def _look(self, entity: str) -> None:
        world = self._world
        if "bus" in world.weather.away:
            return
        if entity == REALM_QUEUE:
            self._look_for_sessions()
            return
        kinds: dict[str, type[App]] = {
            MAIN_QUEUE: MainApp,
            REQUESTS_QUEUE: MainApp,
            MCP_QUEUE: McpApp,
            WAKE_SUBSCRIPTION: MainApp,
        }
        if entity not in kinds:
            return
        while apps := world.living(kinds[entity]):
            kept = world.broker.receive(entity)
            if kept is None:
                return
            app = world.rng.choice(apps)
            self._hold(app, kept)
            app.spawn(self._one(app, kept))

    def _look_for_sessions(self) -> None:
        world = self._world
        while apps := world.living(RealmApp):
            session = world.broker.accept_session(REALM_QUEUE)
            if session is None:
                return
            app = world.rng.choice(apps)
            world.broker.renew(session, until=world.clock.now() + HELD)
            app.sessions.append(session)
            app.spawn(self._session(app, session))

    def _hold(self, app: App, kept: Kept) -> None:
        self._world.broker.renew(kept, until=self._world.clock.now() + HELD)
        app.messages[lock_of(kept)] = kept

    async def _session(self, app: RealmApp, session: Session) -> None:
        """A session's messages, one after the other; then the session is given back."""
        broker = self._world.broker
        try:
            while True:
                if "bus" in self._world.weather.away:
                    return  # nothing can be settled; the lock expires
                kept = broker.receive_in(session)
                if kept is None:
                    break
                await self._one(app, kept)
        except TransientError:
            return  # the lock is lost: another instance has the session
        if session in app.sessions:
            app.sessions.remove(session)
        broker.release(session)
        self.poke(REALM_QUEUE, seconds=0.02)

    async def _one(self, app: App, kept: Kept) -> None:
        """Handle and settle one message."""
        world, lock = self._world, lock_of(kept)
        message = kept.build_received()
        world.checks.taken(kept)
        app.note(f"takes {message.delivery_count}", f"{kept.message_id} #{kept.sequence_number}")
        how = await self._handle(app, message)
        settle = {"complete": world.broker.complete, "abandon": world.broker.abandon}[how]
        try:
            await app.intercept(f"settle.{how}", str(kept.message_id), lambda: settle(kept, lock))
        except TransientError:
            app.note("not settled", str(kept.message_id))
            if lock in app.messages:
                kept.locked_until = world.clock.now() + timedelta(seconds=60 * world.rng.random())
                self.poke(kept.entity, seconds=60.1)
        app.messages.pop(lock, None)

    async def _handle(self, app: App, message: ReceivedMessage) -> Settlement:
        """Call the trigger; the host completes what returns and abandons what raises."""
        try:
            await app.handlers[message.entity](make_trigger_message(message))
        except (SessionLost, TransientError):
            return "abandon"
        except Exception as error:  # noqa: BLE001 - as the host does; a bug unless it was planned
            app.note("raises", repr(error))
            self._world.raised(error)
            return "abandon"
        return "complete"


def lock_of(kept: Kept) -> int:
    """The token that a message is locked under."""
    assert kept.lock is not None
    return kept.lock
