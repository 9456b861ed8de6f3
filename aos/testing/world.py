"""Runs main, realm and mcp in one process, on adapters in memory. Entry point: `MemoryWorld`."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

import azure.functions as func

from aos.adapters.memory import (
    Kept,
    ManualClock,
    MemoryBroker,
    MemoryServers,
    MemoryTables,
    MemoryTelemetry,
    MemoryToolServers,
    SeededIds,
    WebhookReceivers,
)
from aos.adapters.memory.blobs import MemoryBlobStore
from aos.domain.caller import Caller
from aos.domain.cards.identity import CardKind
from aos.domain.cloud_events import STRUCTURED
from aos.domain.envelope import (
    AGENT_EVENTS,
    MAIN_QUEUE,
    MCP_QUEUE,
    REALM_QUEUE,
    REQUESTS_QUEUE,
    RESPONSES_QUEUE,
    SYSTEM_EVENTS,
    WAKE_SUBSCRIPTION,
    GivenUp,
)
from aos.domain.json_writer import write_json
from aos.domain.notify import notify_from_dict
from aos.domain.runs.conversation import Message
from aos.domain.runs.run import ReplyAddress, Run
from aos.domain.tools.questions import AnswerAction, QuestionRequest
from aos.domain.tools.tool import ApprovalRequest, Verdict
from aos.errors import SessionLost, TransientError
from aos.ports.model import ChatModel
from aos.ports.paging import Page
from aos.ports.telemetry import Telemetry
from aos.services.admission import RunRequest
from aos.services.catalog.reader import CHECK_EVERY_SECONDS
from aos.settings import Settings
from aos.testing.adapters import make_world
from aos.testing.asking import AskingTools, Tool
from aos.testing.model import ScriptedModel
from aos.testing.settled_main import SettledMain
from aos.testing.triggers import be_ready, make_trigger_message
from aos.wiring.every_app import App
from aos.wiring.mcp import Mcp
from aos.wiring.realm import Realm

A = TypeVar("A", bound=App)
T = TypeVar("T")
Handler = Callable[[func.ServiceBusMessage], Awaitable[None]]
DEVELOPMENT = {"AZURE_FUNCTIONS_ENVIRONMENT": "Development", "AOS_MODEL_ENDPOINT": "http://m/v1"}
MAX_MESSAGES = 10_000
"""A world that handles more messages without coming to rest is in an endless loop."""
IDLE_TURNS = 20
MEND_SECONDS = 30.0
SHORT_SECONDS = 60.0
"""The seconds before a moment in which the timers of `advance_to` tick."""


class MemoryWorld:
    """main, realm and mcp in this process, with storage and bus in memory.

    Nothing happens by itself: `ask`, `settle` and `advance` make it happen. The apps are those of
    Azure, with other adapters. The apps and their data are public, for what the methods do not
    offer.
    """

    def __init__(
        self,
        *,
        model: ChatModel | None = None,
        seed: int = 1,
        settings: Mapping[str, str] | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        """`settings` are environment variables, as in docs/SETTINGS.md."""
        self.settings = Settings.read({**DEVELOPMENT, **(settings or {})})
        self.model = model or ScriptedModel()
        self.clock = ManualClock()
        self.ids = SeededIds(random.Random(seed))
        self.telemetry = MemoryTelemetry()
        self.tables = MemoryTables()
        self.broker = MemoryBroker(clock=self.clock)
        self.config = MemoryBlobStore(clock=self.clock)
        self.data = MemoryBlobStore(clock=self.clock)
        self.logs = MemoryBlobStore(clock=self.clock)
        self.servers = MemoryServers()
        self.receivers = WebhookReceivers()
        self._asking = AskingTools(self.servers)
        self.ports = make_world(
            tables=self.tables,
            broker=self.broker,
            config=self.config,
            data=self.data,
            logs=self.logs,
            model=self.model,
            clock=self.clock,
            ids=self.ids,
            servers=MemoryToolServers(self.servers),
            receivers=self.receivers,
        )
        self._tells = telemetry or self.telemetry
        self.main, self.realm, self.mcp = (
            self._make(SettledMain),
            self._make(Realm),
            self._make(Mcp),
        )

    def _make(self, kind: type[A]) -> A:
        return kind(
            self.settings,
            open_world=lambda: self.ports,
            telemetry=self._tells,
            ids=self.ids,
            ready=be_ready,
        )

    async def put_agent(self, card: dict[str, Any]) -> dict[str, Any]:
        """Upload an agent card and publish it; return its status file (`state`, `errors` …)."""
        return await self._put(CardKind.AGENT, card)

    async def put_mcp_server(
        self, card: dict[str, Any], tools: Mapping[str, Tool]
    ) -> dict[str, Any]:
        """Upload the card of an MCP server with these tools, list them, and publish it.

        A tool takes the arguments and returns its text, or an `Ask`. `servers` offers more (schemas
        with annotations, other outcomes, servers that fail) and keeps the calls that were made.
        """
        for name, tool in tools.items():
            self._asking.add(card["server_id"], name, tool)
        return await self._put(CardKind.MCP_SERVER, card)

    async def _put(self, kind: CardKind, card: dict[str, Any]) -> dict[str, Any]:
        card_id = card[kind.id_field]
        await self.config.write(kind.blob_name(card_id), write_json(card).encode())
        await self.main.services.publish()
        while await self._deliver_one_of(SYSTEM_EVENTS, self.mcp.events.handle):
            pass
        self.clock.advance(CHECK_EVERY_SECONDS)  # realm and mcp check the catalog at this interval
        blob = await self.config.read(f"status/{kind.blob_name(card_id)}")
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
        notify: Mapping[str, Any] | None = None,
        stream: bool = False,
    ) -> Run:
        """Ask an agent and let everything happen; return the run in its state after that.

        Raises Refused as the routes do. A run that waits, for example for an absent model, has not
        ended: `advance` the clock, then read `run(run_id)`. `receivers` holds what was sent to URLs
        of `notify`. With `stream` the model's text is also told by provisional events.
        """
        address = None if reply_to is None else ReplyAddress(entity=reply_to, correlation_id=key)
        admission = await self.main.services.admissions.admit(
            RunRequest(
                agent_id=agent_id,
                message=message,
                conversation_id=conversation_id,
                metadata=metadata or {},
                reply=address,
                notify=notify_from_dict(notify),
                stream=stream,
            ),
            door="http",
            scope=f"http:{owner}",
            key=key,
            caller=Caller(owner=owner),
        )
        await self.settle()
        return await self.run(admission.request.run_id, owner=owner)

    async def run(self, run_id: str, *, owner: str = "local") -> Run:
        """Return a run in its current state. Raises Refused `run_not_found`."""
        _, run = await self.main.services.runs.find(run_id, owner=owner)
        return run

    async def waiting_approvals(self, *, owner: str = "local") -> Page[ApprovalRequest]:
        """List the tool calls that wait for a decision of this owner."""
        return await self.main.services.approvals.list_waiting(
            Caller(owner=owner), after=None, limit=100
        )

    async def decide(
        self,
        run_id: str,
        tool_call_id: str,
        verdict: Verdict,
        reason: str = "",
        *,
        owner: str = "local",
    ) -> Run:
        """Decide about a tool call and let everything happen. Raises Refused as the routes do."""
        caller = Caller(owner=owner)
        await self.main.services.approvals.decide(
            run_id, tool_call_id, verdict, reason, caller=caller
        )
        await self.settle()
        return await self.run(run_id, owner=owner)

    async def waiting_questions(self, *, owner: str = "local") -> Page[QuestionRequest]:
        """List the questions of tools that wait for an answer of this owner."""
        return await self.main.services.questions.list_waiting(
            Caller(owner=owner), after=None, limit=100
        )

    async def answer(
        self,
        run_id: str,
        question_id: str,
        values: Mapping[str, Any] | None = None,
        *,
        action: AnswerAction = "accept",
        owner: str = "local",
    ) -> Run:
        """Answer a tool's question and let everything happen. Raises Refused as the routes do."""
        await self.main.services.questions.answer(
            run_id, question_id, action, values, caller=Caller(owner=owner)
        )
        await self.settle()
        return await self.run(run_id, owner=owner)

    async def cancel(self, run_id: str, *, owner: str = "local") -> Run:
        """Request a run's cancellation and let everything happen. An ended run does not change."""
        await self.main.services.admissions.cancel(run_id, Caller(owner=owner))
        await self.settle()
        return await self.run(run_id, owner=owner)

    async def delete_conversation(self, conversation_id: str, *, owner: str = "local") -> None:
        """Delete a conversation and let everything happen. Raises Refused as the route does.

        The rows of its runs are scrubbed some seconds after their ends: `advance` the clock by 10.
        """
        await self.main.services.deletions.delete(conversation_id, Caller(owner=owner))
        await self.settle()

    async def history(self, conversation_id: str) -> list[Message]:
        """Return a conversation's messages. Raises Refused `conversation_not_found`."""
        page = await self.main.services.runs.list_messages(
            conversation_id, owner=None, limit=1_000_000
        )
        return page.items

    def replies(self, entity: str = RESPONSES_QUEUE) -> list[dict[str, Any]]:
        """Return the bodies of the replies sent so far."""
        return [json.loads(kept.body) for kept in self.broker.messages(entity)]

    async def settle(self) -> None:
        """Deliver every message that can be delivered now, and those that follow from it; then
        write the lists, as main does a moment later."""
        for _ in range(MAX_MESSAGES):
            if not await self._deliver_one():
                await self.main.services.books.flush()
                return
        raise AssertionError(f"the apps still send messages after {MAX_MESSAGES} deliveries")

    async def advance(self, seconds: float) -> None:
        """Let time pass: scheduled messages are delivered at their time, the mender runs, and
        agents wake by their schedules."""
        end = self.clock.monotonic() + seconds
        while (left := end - self.clock.monotonic()) > 0:
            self.clock.advance(min(left, MEND_SECONDS))
            await self._moving_clock(self.main.services.mender.mend())
            await self._moving_clock(self.main.services.scheduled_runs.wake())
            await self.settle()

    async def advance_to(self, moment: datetime) -> None:
        """Let time pass until this moment, for example a tick of a schedule.

        All but the last minute passes at once, as while AOS is away: ticks in it start one run at
        most.
        """
        left = (moment - self.clock.now()).total_seconds()
        if left < 0:
            raise ValueError(f"the clock of this world is past {moment} already")
        self.clock.advance(max(0.0, left - SHORT_SECONDS))
        await self.advance(min(left, SHORT_SECONDS))

    async def publish_event(
        self,
        event_type: str,
        data: Any = None,
        *,
        event_id: str | None = None,
        source: str = "tests",
        reply_to: str | None = None,
    ) -> list[Run]:
        """Publish a CloudEvent on `agent-events` and let everything happen; return the runs that
        it woke, as they are after that.

        The same `event_id` and `source` again are the same event.
        """
        event = {
            "specversion": "1.0",
            "id": event_id or self.ids.new_id(),
            "source": source,
            "type": event_type,
            **({} if data is None else {"data": data}),
        }
        before = await self.woken_runs()
        self.broker.send(
            AGENT_EVENTS,
            write_json(event).encode(),
            message_id=None,
            content_type=STRUCTURED,
            reply_to=reply_to,
        )
        await self.settle()
        known = {run.run_id for run in before}
        return [run for run in await self.woken_runs() if run.run_id not in known]

    async def woken_runs(self, agent_id: str | None = None) -> list[Run]:
        """Return the runs that schedules and events started, oldest first."""
        stored = [row.request for row in self.tables.requests.values()]
        woken = sorted(
            (
                request
                for request in stored
                if request.door in ("schedule", "event") and agent_id in (None, request.agent_id)
            ),
            key=lambda request: request.admitted_at,
        )
        return [await self.run(request.run_id, owner=request.owner) for request in woken]

    async def _deliver_one(self) -> bool:
        return (
            await self._deliver_one_to_realm()
            or await self._deliver_one_of(MAIN_QUEUE, self.main.commands.handle)
            or await self._deliver_one_of(MCP_QUEUE, self.mcp.commands.handle)
            or await self._deliver_one_of(SYSTEM_EVENTS, self.mcp.events.handle)
            or await self._deliver_one_of(REQUESTS_QUEUE, self.main.requests.handle)
            or await self._deliver_one_of(WAKE_SUBSCRIPTION, self.main.agent_events.handle)
            or await self._deliver_one_job()
        )

    async def _deliver_one_job(self) -> bool:
        if not self.broker.jobs:
            return False
        body = self.broker.jobs.pop(0)
        message = func.QueueMessage(id=self.ids.new_id(), body=body)
        await self._moving_clock(self.main.jobs.handle(message))
        return True

    async def _deliver_one_to_realm(self) -> bool:
        session = self.broker.accept_session(REALM_QUEUE)
        if session is None:
            return False
        kept = self.broker.receive_in(session)
        if kept is not None:
            self.broker.renew(session, until=self.clock.now() + timedelta(days=1))
            await self._deliver(kept, self.realm.commands.handle)
        self.broker.release(session)
        return True

    async def _deliver_one_of(self, entity: str, handle: Handler) -> bool:
        kept = self.broker.receive(entity)
        if kept is None:
            return False
        self.broker.renew(kept, until=self.clock.now() + timedelta(days=1))
        await self._deliver(kept, handle)
        return True

    async def _deliver(self, kept: Kept, handle: Handler) -> None:
        """Handle and settle one message as the host does. Raises unexpected errors."""
        lock = kept.lock
        assert lock is not None
        try:
            await self._moving_clock(handle(make_trigger_message(kept.build_received())))
        except (GivenUp, SessionLost, TransientError):
            self.broker.abandon(kept, lock)
        else:
            self.broker.complete(kept, lock)

    async def _moving_clock(self, work: Awaitable[T]) -> T:
        """Await work. When all of it sleeps, move the clock to the end of the sleep."""
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
