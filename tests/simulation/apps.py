"""Runs the apps of the product in simulated instances. Entry points: `MainApp`, `RealmApp`,
`McpApp`.

An instance gives the app's own wiring a world of adapters in memory that go through the instance's
hook, and holds what dies with the process: its tasks and its locks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import azure.functions as func

from aos.adapters.memory import Kept, MemorySpan, Session
from aos.adapters.memory.blobs import MemoryBlobStore
from aos.domain.envelope import (
    MAIN_QUEUE,
    MCP_QUEUE,
    REALM_QUEUE,
    REQUESTS_QUEUE,
    WAKE_SUBSCRIPTION,
)
from aos.domain.tools.questions import AnswerAction, QuestionAnswer, QuestionRequest
from aos.domain.tools.tool import ApprovalRequest, Decision, Verdict
from aos.services.admission import Caller
from aos.settings import Settings
from aos.testing.adapters import make_world
from aos.testing.triggers import be_ready
from aos.testing.world import DEVELOPMENT
from aos.wiring import every_app
from aos.wiring.main import Main
from aos.wiring.mcp import Mcp
from aos.wiring.realm import Realm
from tests.simulation.faults import FaultInjector
from tests.simulation.loop import VirtualClock
from tests.simulation.receivers import SECRET
from tests.simulation.tools import SimServers

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")
A = TypeVar("A", bound=every_app.App)
Handler: TypeAlias = Callable[[func.ServiceBusMessage], Awaitable[None]]
SETTINGS = Settings.read({**DEVELOPMENT, "AOS_WEBHOOK_SECRET": SECRET})
TIMER: Any = None
"""What a timer trigger is given, which it does not look at."""


class SilentTelemetry:
    """Telemetry that only counts in the story."""

    def __init__(
        self, note: Callable[[str, str], None], refused: Callable[[str, str], None]
    ) -> None:
        self._note = note
        self._refused = refused

    def log(self, event: str, *, level: str = "info", **fields: object) -> None:
        """A line of the story."""
        self._note(f"log {event}", str(fields.get("run_id", "")))
        if event == "request_refused":
            self._refused(str(fields["run_id"]), str(fields["code"]))

    def custom_event(self, name: str, **attributes: object) -> None:
        """Nothing."""

    def span(self, name: str, **attributes: object) -> _Span:
        """A span that keeps nothing."""
        return _SPAN


class _Span(MemorySpan):
    def __enter__(self) -> _Span:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def set(self, **attributes: object) -> None:
        return None


_SPAN = _Span("span", "internal")


class App:
    """One process: alive until it crashes; its successor is another instance."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.tasks: dict[asyncio.Task[Any], None] = {}  # in order: a seed is one story
        self.messages: dict[int, Kept] = {}
        self.sessions: list[Session] = []
        self.intercept = FaultInjector(
            self, loop=world.loop, weather=world.weather, story=world.story
        )
        self.clock = VirtualClock(world.loop, skew=world.scenario.skew * world.rng.uniform(-1, 1))
        self.telemetry = SilentTelemetry(self.note, world.refused)
        ports = make_world(
            tables=world.tables,
            broker=world.broker,
            config=self.blobs(world.config),
            data=self.blobs(world.data),
            logs=self.blobs(world.logs),
            model=world.model_for(self),
            clock=self.clock,
            ids=world.ids,
            servers=SimServers(self, world.box, world.rng),
            receivers=world.receivers,
            intercept=self.intercept,
        )
        self.ports = world.choose_version().make_ports(
            ports, tables=world.tables, broker=world.broker, intercept=self.intercept
        )
        self.handlers: Mapping[str, Handler] = {}

    def wire(self, kind: type[A]) -> A:
        """The app of the product, on the ports of this instance."""
        return kind(
            SETTINGS,
            open_world=lambda: self.ports,
            telemetry=self.telemetry,
            ids=self.world.ids,
            ready=be_ready,
        )

    def blobs(self, shared: MemoryBlobStore) -> MemoryBlobStore:
        """This instance's own way to a container."""
        return shared.reached_by(self.clock, self._blob_hook)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something in this process."""
        task = self.world.loop.create_task(work)
        self.tasks[task] = None
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self.tasks.pop(task, None)

    def crash(self) -> None:
        """Die: nothing that runs here goes on; locks are held until they expire."""
        if not self.alive:
            return
        self.alive = False
        self.note("✗ dies", "")
        for task in list(self.tasks):
            task.cancel()
        self.world.died(self)

    def lose_locks(self) -> None:
        """Every lock of this process expires now; it goes on working."""
        self.world.watching.locks_lost = True
        self.world.pump.expire_locks(self, within=0.0)

    def note(self, what: str, about: str) -> None:
        """A line of the story."""
        self.world.story.events.append((self.world.loop.seconds, self.name, what, about))

    async def _blob_hook(self, operation: str, name: str, moment: str) -> None:
        if moment == "before":
            await self.intercept(f"blob.{operation}", name, lambda: None)
        else:
            self.world.blob_done(operation, name)


class _Main(Main):
    """Main with batches that are gathered longer."""

    gathering = 1.0

    async def gather_batch(self, seconds: float) -> None:
        """Wait longer."""
        await super().gather_batch(seconds * self.gathering)


class MainApp(App):
    """One instance of main."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.main = self.wire(_Main)
        self.main.gathering = world.scenario.gathering
        self.services = self.main.services
        self.handlers = {
            MAIN_QUEUE: self.main.commands.handle,
            REQUESTS_QUEUE: self.main.requests.handle,
            WAKE_SUBSCRIPTION: self.main.agent_events.handle,
        }

    async def decide(self, approval: ApprovalRequest, verdict: Verdict, caller: Caller) -> Decision:
        """A person decides about a tool call."""
        run_id, call_id = approval.run_id, approval.tool_call_id
        approvals = self.services.approvals
        return await approvals.decide(run_id, call_id, verdict, "so be it", caller=caller)

    async def answer(
        self, question: QuestionRequest, action: AnswerAction, n: int, caller: Caller
    ) -> QuestionAnswer:
        """A person answers a tool's question."""
        return await self.services.questions.answer(
            question.run_id, question.question_id, action, {"n": n}, caller=caller
        )

    async def cancel(self, run_id: str, caller: Caller) -> None:
        """A caller asks for a run's cancellation."""
        await self.services.admissions.cancel(run_id, caller)

    async def delete(self, conversation_id: str, caller: Caller) -> None:
        """A caller deletes a conversation."""
        await self.services.deletions.delete(conversation_id, caller)

    async def clean(self) -> None:
        """One tick of the cleaning's timer."""
        await self.main.clean_timer.tick(TIMER)

    async def mend(self) -> None:
        """One tick of the mender's timer."""
        await self.main.mender_timer.tick(TIMER)

    async def wake(self) -> None:
        """One tick of the timer that looks at schedules."""
        await self.main.wake_timer.tick(TIMER)


class McpApp(App):
    """One instance of mcp."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.handlers = {MCP_QUEUE: self.wire(Mcp).commands.handle}


class RealmApp(App):
    """One instance of realm."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.handlers = {REALM_QUEUE: self.wire(Realm).commands.handle}
