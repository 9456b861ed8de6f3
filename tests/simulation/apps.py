"""What runs in one simulated app instance?

`MainApp` and `RealmApp` wire the real services to the in-memory world through the instance's own
door, and hold what dies with the process: its tasks, its catalog cache, its locks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from aos.adapters.memory import (
    Kept,
    MemoryBus,
    MemoryDecisions,
    MemoryLedger,
    MemoryPendingStore,
    MemoryRequestStore,
    MemoryRunIndex,
    MemorySpan,
    MemoryToolCatalog,
    MemoryToolLedger,
    Session,
)
from aos.adapters.memory.blobs import MemoryBlobStore
from aos.domain.cards.policy import CardPolicy
from aos.domain.envelope import CancelChild, RequestRun
from aos.domain.tools.tool import ApprovalRequest, Decision, Verdict
from aos.errors import TransientError
from aos.services.admission import Admissions, Caller, Delegations
from aos.services.approvals import Approvals
from aos.services.catalog.publisher import CatalogPublisher
from aos.services.catalog.reader import CatalogReader
from aos.services.execution import Execution, ToolOffers, TurnLimits, Turns
from aos.services.mender import Mender
from aos.services.replies import Replies
from aos.services.runs import RunReader
from aos.services.tool_calls import ToolCalls
from tests.simulation.faults import InstanceDoor
from tests.simulation.loop import VirtualClock
from tests.simulation.model import SimModel
from tests.simulation.tools import SimServers

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")


class SilentTelemetry:
    """Telemetry that only counts in the story."""

    def __init__(self, note: Callable[[str, str], None]) -> None:
        self._note = note

    def log(self, event: str, *, level: str = "info", **fields: object) -> None:
        """A line of the story."""
        self._note(f"log {event}", str(fields.get("run_id", "")))

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
        self.door = InstanceDoor(self, loop=world.loop, weather=world.weather, story=world.story)
        self.clock = VirtualClock(world.loop, skew=world.scenario.skew * world.rng.uniform(-1, 1))
        self.telemetry = SilentTelemetry(self.note)
        self.requests = MemoryRequestStore(world.tables, door=self.door)
        self.conversations = world.conversation_store(world.tables, door=self.door)
        self.bus = MemoryBus(world.broker, clock=self.clock, door=self.door)
        self.data = self.blobs(world.data)
        self.agents = CatalogReader(self.data, self.clock)

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
        self.world.pump.expire_locks(self, within=0.0)

    def note(self, what: str, about: str) -> None:
        """A line of the story."""
        self.world.story.events.append((self.world.loop.seconds, self.name, what, about))

    async def _blob_hook(self, operation: str, name: str, moment: str) -> None:
        if moment == "before":
            await self.door(f"blob.{operation}", name, lambda: None)
        else:
            self.world.blob_done(operation, name)


class MainApp(App):
    """One instance of main."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        tables, clock = world.tables, self.clock
        self.pending = MemoryPendingStore(tables, door=self.door)
        self.index = MemoryRunIndex(tables, door=self.door)
        self.ledger = MemoryLedger(tables, door=self.door)
        self.replies = Replies(
            ledger=self.ledger,
            index=self.index,
            pending=self.pending,
            bus=self.bus,
            telemetry=self.telemetry,
        )
        self.runs = RunReader(
            requests=self.requests,
            conversations=self.conversations,
            index=self.index,
            clock=clock,
        )
        self.admissions = Admissions(
            runs=self.runs,
            requests=self.requests,
            pending=self.pending,
            conversations=self.conversations,
            index=self.index,
            agents=self.agents,
            model=world.model_for(self),
            bus=self.bus,
            clock=clock,
            ids=world.ids,
            telemetry=self.telemetry,
        )
        self.delegations = Delegations(
            self.admissions, runs=self.runs, requests=self.requests, bus=self.bus
        )
        self.approvals = Approvals(
            decisions=MemoryDecisions(tables, door=self.door),
            runs=self.runs,
            pending=self.pending,
            bus=self.bus,
            clock=clock,
            ids=world.ids,
        )
        self.mender = Mender(
            requests=self.requests,
            pending=self.pending,
            conversations=self.conversations,
            index=self.index,
            deliver=self.replies.deliver,
            bus=self.bus,
            clock=clock,
            telemetry=self.telemetry,
        )
        self.config = self.blobs(world.config)
        self.publisher = CatalogPublisher(
            config=self.config, data=self.data, clock=clock, policy=CardPolicy()
        )

    async def decide(self, approval: ApprovalRequest, verdict: Verdict, caller: Caller) -> Decision:
        """A person decides about a tool call."""
        run_id, call_id = approval.run_id, approval.tool_call_id
        return await self.approvals.decide(run_id, call_id, verdict, "so be it", caller=caller)

    async def cancel(self, run_id: str, caller: Caller) -> None:
        """A caller asks for a run's cancellation."""
        await self.admissions.cancel(run_id, caller)

    async def delegated(self, command: RequestRun | CancelChild) -> None:
        """What an agent delegated, or does not wait for any more."""
        if isinstance(command, RequestRun):
            await self.delegations.request(command)
        else:
            await self.delegations.cancel(command)

    async def mend(self) -> None:
        """One tick of the mender's timer."""
        with contextlib.suppress(TransientError):
            await self.mender.mend()


class McpApp(App):
    """One instance of mcp."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.tool_calls = ToolCalls(
            ledger=MemoryToolLedger(world.tables, door=self.door),
            catalog=MemoryToolCatalog(world.tables, door=self.door),
            cards=self.agents,
            servers=SimServers(self, world.box, world.rng),
            bus=self.bus,
            clock=self.clock,
            ids=world.ids,
            telemetry=self.telemetry,
        )


class RealmApp(App):
    """One instance of realm."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        tables = world.tables
        self.model: SimModel = world.model_for(self)
        self.execution = Execution(
            conversations=self.conversations,
            requests=self.requests,
            agents=self.agents,
            decisions=MemoryDecisions(tables, door=self.door),
            turns=Turns(
                model=self.model,
                conversations=self.conversations,
                requests=self.requests,
                offers=ToolOffers(
                    tools=MemoryToolCatalog(tables, door=self.door),
                    agents=self.agents,
                    clock=self.clock,
                ),
                clock=self.clock,
                ids=world.ids,
                telemetry=self.telemetry,
                limits=TurnLimits(),
            ),
            bus=self.bus,
            clock=self.clock,
            ids=world.ids,
        )
