"""How do I test my agents and what I build around them, without a cloud, a model or a wait?

`MemoryWorld` is the whole road in memory: the real services on fakes of storage and bus, and a
clock that moves when the test moves it. `ScriptedModel` answers what the test wrote down.

    world = MemoryWorld(model=ScriptedModel("Sell.", "Buy."))
    await world.put_agent({"agent_id": "ceo", "purpose": "Lead."})
    run = await world.ask("ceo", "What now?", conversation_id="board")
    assert run.output == "Sell."
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

from aos.adapters.memory import (
    Kept,
    ManualClock,
    MemoryBroker,
    MemoryBus,
    MemoryConversationStore,
    MemoryDecisions,
    MemoryLedger,
    MemoryPendingStore,
    MemoryRequestStore,
    MemoryRunIndex,
    MemoryTables,
    MemoryTelemetry,
    MemoryToolCatalog,
    SeededIds,
)
from aos.adapters.memory_blobs import MemoryBlobStore
from aos.domain.caller import Caller
from aos.domain.card import CardPolicy
from aos.domain.conversation import Message
from aos.domain.envelope import (
    MAIN_QUEUE,
    REALM_QUEUE,
    RESPONSES_QUEUE,
    CancelChild,
    RealmCommand,
    RequestRun,
    RunEnded,
    read_command,
)
from aos.domain.run import ReplyAddress, Run, Usage
from aos.errors import SessionLost, TransientError
from aos.ports import ChatModel, ModelAnswer, ModelCall
from aos.services.admission import Admissions, Delegations, RunRequest
from aos.services.catalog.publisher import CatalogPublisher
from aos.services.catalog.reader import CatalogReader
from aos.services.execution import Execution, Offering, TurnLimits, Turns
from aos.services.mending import Mender
from aos.services.reading import Reading
from aos.services.replies import Replies
from aos.services.waiting import RunWaiters

Answer: TypeAlias = str | Exception | Callable[[ModelCall], str]
T = TypeVar("T")
MAX_MESSAGES = 10_000
"""A world that does not come to rest within so many messages is going round in circles."""
IDLE_TURNS = 20
MEND_SECONDS = 30.0


class ScriptedModel:
    """A model that gives the answers of a script, one a call, and keeps the calls.

    An answer is a text, an exception to raise (`TransientError`, `RunFailed`), or a function of
    the call. When the script is at its end it answers `answer 1`, `answer 2` …
    """

    def __init__(self, *answers: Answer, served: Sequence[str] = ("scripted",)) -> None:
        self.calls: list[ModelCall] = []
        self._answers = list(answers)
        self._served = frozenset(served)

    def then(self, *answers: Answer) -> None:
        """Append to the script."""
        self._answers.extend(answers)

    def configured(self) -> bool:
        """Always."""
        return True

    async def served(self) -> frozenset[str]:
        """The names given at its making."""
        return self._served

    async def complete(self, call: ModelCall) -> ModelAnswer:
        """The next answer of the script."""
        self.calls.append(call)
        answer = self._answers.pop(0) if self._answers else f"answer {len(self.calls)}"
        if isinstance(answer, Exception):
            raise answer
        text = answer if isinstance(answer, str) else answer(call)
        words = sum(len(message.content.split()) for message in call.messages)
        usage = Usage(input_tokens=words, output_tokens=len(text.split()))
        return ModelAnswer(text=text, usage=usage, model=call.model or "scripted")


class MemoryWorld:
    """main and realm in this process, on storage and bus in memory.

    Nothing happens by itself: `ask`, `settle` and `advance` let it happen. The parts are public,
    for what these do not offer.
    """

    def __init__(self, *, model: ChatModel | None = None, seed: int = 1) -> None:
        self.model = model or ScriptedModel()
        self.clock = ManualClock()
        self.ids = SeededIds(random.Random(seed))
        self.telemetry = MemoryTelemetry()
        self.tables = MemoryTables()
        self.broker = MemoryBroker(clock=self.clock)
        self.config = MemoryBlobStore(clock=self.clock)
        self.data = MemoryBlobStore(clock=self.clock)
        self.bus = MemoryBus(self.broker, clock=self.clock)
        self.requests = MemoryRequestStore(self.tables)
        self.pending = MemoryPendingStore(self.tables)
        self.conversations = MemoryConversationStore(self.tables)
        self.index = MemoryRunIndex(self.tables)
        self.decisions = MemoryDecisions(self.tables)
        self.tools = MemoryToolCatalog(self.tables)
        self.agents = CatalogReader(self.data, self.clock, check_every_seconds=0.0)
        self._wire_main()
        self.execution = Execution(
            conversations=self.conversations,
            agents=self.agents,
            decisions=self.decisions,
            turns=Turns(
                model=self.model,
                conversations=self.conversations,
                requests=self.requests,
                offering=Offering(tools=self.tools, agents=self.agents, clock=self.clock),
                clock=self.clock,
                ids=self.ids,
                limits=TurnLimits(),
            ),
            bus=self.bus,
            clock=self.clock,
            ids=self.ids,
            telemetry=self.telemetry,
        )

    async def put_agent(self, card: dict[str, Any]) -> dict[str, Any]:
        """Upload an agent card and publish it; its status file (`state`, `errors` …)."""
        agent_id = card["agent_id"]
        await self.config.write(f"agents/{agent_id}.json", json.dumps(card).encode())
        await self.publisher.publish()
        blob = await self.config.read(f"status/agents/{agent_id}.json")
        assert blob is not None
        status: dict[str, Any] = json.loads(blob.body)
        return status

    async def ask(
        self,
        agent_id: str,
        message: str,
        *,
        conversation_id: str | None = None,
        key: str | None = None,
        owner: str = "local",
        metadata: dict[str, Any] | None = None,
        reply_to: str | None = None,
    ) -> Run:
        """Ask an agent and let everything happen; the run as it then stands.

        Raises Refused as the doors do. A run that waits (for an absent model) is not ended:
        `advance` the clock, then read `run(run_id)`.
        """
        address = None if reply_to is None else ReplyAddress(entity=reply_to, correlation_id=key)
        admission = await self.admissions.admit(
            RunRequest(
                agent_id=agent_id,
                message=message,
                conversation_id=conversation_id,
                metadata=metadata or {},
                reply=address,
            ),
            door="http",
            scope=f"http:{owner}",
            key=key,
            caller=Caller(owner=owner),
        )
        await self.settle()
        return await self.run(admission.request.run_id, owner=owner)

    async def run(self, run_id: str, *, owner: str = "local") -> Run:
        """A run as it stands; raises Refused `run_not_found`."""
        _, run = await self.admissions.find(run_id, Caller(owner=owner))
        return run

    async def history(self, conversation_id: str) -> list[Message]:
        """A conversation's messages; raises Refused `conversation_not_found`."""
        page = await self.reading.messages(conversation_id, owner=None, limit=1_000_000)
        return page.items

    def replies(self, entity: str = RESPONSES_QUEUE) -> list[dict[str, Any]]:
        """The bodies of the replies sent so far."""
        return [json.loads(kept.body) for kept in self.broker.messages(entity)]

    async def settle(self) -> None:
        """Deliver every message that can be delivered now, and what follows from it."""
        for _ in range(MAX_MESSAGES):
            if not await self._one_for_realm() and not await self._one_for_main():
                return
        raise AssertionError(f"the world did not come to rest within {MAX_MESSAGES} messages")

    async def advance(self, seconds: float) -> None:
        """Let time pass: what is scheduled is delivered at its moment, the mender looks."""
        end = self.clock.monotonic() + seconds
        while (left := end - self.clock.monotonic()) > 0:
            self.clock.advance(min(left, MEND_SECONDS))
            await self._moving_clock(self.mender.mend())
            await self.settle()

    def _wire_main(self) -> None:
        self.replies_service = Replies(
            ledger=MemoryLedger(self.tables),
            pending=self.pending,
            bus=self.bus,
            clock=self.clock,
            telemetry=self.telemetry,
        )
        self.admissions = Admissions(
            requests=self.requests,
            pending=self.pending,
            conversations=self.conversations,
            index=self.index,
            agents=self.agents,
            model=self.model,
            bus=self.bus,
            clock=self.clock,
            ids=self.ids,
            telemetry=self.telemetry,
        )
        self.delegations = Delegations(
            self.admissions,
            requests=self.requests,
            conversations=self.conversations,
            bus=self.bus,
        )
        self.waiters = RunWaiters(conversations=self.conversations, clock=self.clock)
        self.reading = Reading(
            requests=self.requests, conversations=self.conversations, index=self.index
        )
        self.mender = Mender(
            requests=self.requests,
            pending=self.pending,
            conversations=self.conversations,
            index=self.index,
            deliver=self.replies_service.deliver,
            bus=self.bus,
            clock=self.clock,
            telemetry=self.telemetry,
        )
        self.publisher = CatalogPublisher(
            config=self.config, data=self.data, clock=self.clock, policy=CardPolicy()
        )

    async def _one_for_realm(self) -> bool:
        session = self.broker.accept_session(REALM_QUEUE)
        if session is None:
            return False
        kept = self.broker.receive_in(session)
        if kept is not None:
            self.broker.renew(session, until=self.clock.now() + timedelta(days=1))
            await self._deliver(kept)
        self.broker.release(session)
        return True

    async def _one_for_main(self) -> bool:
        kept = self.broker.receive(MAIN_QUEUE)
        if kept is None:
            return False
        self.broker.renew(kept, until=self.clock.now() + timedelta(days=1))
        await self._deliver(kept)
        return True

    async def _deliver(self, kept: Kept) -> None:
        """Handle and settle one message as the host does."""
        lock = kept.lock
        assert lock is not None
        try:
            await self._moving_clock(self._handle(kept))
        except SessionLost:
            self.broker.abandon(kept, lock)
        except TransientError:
            later = self.clock.now() + timedelta(minutes=1)
            message = kept.received()
            await self.bus.postpone(message, at=later, attempt=message.attempt + 1)
            self.broker.complete(kept, lock)
        else:
            self.broker.complete(kept, lock)

    async def _handle(self, kept: Kept) -> None:
        command = read_command(kept.body)
        if isinstance(command, RunEnded):
            await self.replies_service.deliver(command)
            self.waiters.notify(command.run)
        elif isinstance(command, RequestRun):
            await self.delegations.request(command)
        elif isinstance(command, CancelChild):
            await self.delegations.cancel(command)
        elif isinstance(command, RealmCommand):
            await self.execution.handle(command, delivery_count=kept.deliveries)

    async def _moving_clock(self, work: Awaitable[T]) -> T:
        """Await work; when all it does is sleep, the clock moves to the end of the sleep."""
        task = asyncio.ensure_future(work)
        idle = 0
        while not task.done():
            await asyncio.sleep(0)
            idle += 1
            wake = self.clock.next_wake
            if idle > IDLE_TURNS and wake is not None:
                self.clock.advance(wake)
                idle = 0
        return await task
