"""What is AOS like when all of it is in this process, and in memory?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from aos.adapters.memory import (
    Kept,
)
from aos.adapters.memory.tools import MemoryTool
from aos.domain.caller import Caller
from aos.domain.cards.identity import CardKind
from aos.domain.envelope import (
    MAIN_QUEUE,
    MCP_QUEUE,
    REALM_QUEUE,
    RESPONSES_QUEUE,
    CallTool,
    CancelChild,
    RequestRun,
    RunEnded,
    read_command,
)
from aos.domain.json_writer import write_json
from aos.domain.runs.conversation import Message
from aos.domain.runs.run import ReplyAddress, Run
from aos.domain.tools.tool import ApprovalRequest, ToolOutcome, ToolSchema, Verdict
from aos.errors import SessionLost, TransientError
from aos.ports.paging import Page
from aos.services.admission import RunRequest
from aos.testing.wiring import WiredServices

T = TypeVar("T")
MAX_MESSAGES = 10_000
"""A world that does not come to rest within so many messages is going round in circles."""
IDLE_TURNS = 20
MEND_SECONDS = 30.0


class MemoryWorld(WiredServices):
    """main, realm and mcp in this process, on storage and bus in memory.

    Nothing happens by itself: `ask`, `settle` and `advance` let it happen. The parts are public,
    for what these do not offer.
    """

    async def put_agent(self, card: dict[str, Any]) -> dict[str, Any]:
        """Upload an agent card and publish it; its status file (`state`, `errors` …)."""
        return await self._put(CardKind.AGENT, card)

    async def put_mcp_server(
        self, card: dict[str, Any], tools: Mapping[str, Callable[[Mapping[str, Any]], str]]
    ) -> dict[str, Any]:
        """Upload the card of an MCP server that has these tools, list them, and publish it.

        A tool takes the arguments and returns its text; `servers` offers more (schemas with
        annotations, other outcomes, servers that fail) and knows the calls that were made.
        """
        for name, tool in tools.items():
            self.servers.add(card["server_id"], ToolSchema(name=name), _as_outcome(tool))
        status = await self._put(CardKind.MCP_SERVER, card)
        await self.listing.follow()
        return status

    async def _put(self, kind: CardKind, card: dict[str, Any]) -> dict[str, Any]:
        card_id = card[kind.id_field]
        await self.config.write(kind.blob_name(card_id), write_json(card).encode())
        await self.publisher.publish()
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
        _, run = await self.run_reader.find(run_id, owner=owner)
        return run

    async def waiting_approvals(self, *, owner: str = "local") -> Page[ApprovalRequest]:
        """The tool calls that wait for a decision of this owner."""
        return await self.approvals.waiting(Caller(owner=owner), after=None, limit=100)

    async def decide(
        self,
        run_id: str,
        tool_call_id: str,
        verdict: Verdict,
        reason: str = "",
        *,
        owner: str = "local",
    ) -> Run:
        """Decide about a tool call and let everything happen; raises Refused as the doors do."""
        caller = Caller(owner=owner)
        await self.approvals.decide(run_id, tool_call_id, verdict, reason, caller=caller)
        await self.settle()
        return await self.run(run_id, owner=owner)

    async def cancel(self, run_id: str, *, owner: str = "local") -> Run:
        """Ask for a run's cancellation and let everything happen; an ended run stays ended."""
        await self.admissions.cancel(run_id, Caller(owner=owner))
        await self.settle()
        return await self.run(run_id, owner=owner)

    async def history(self, conversation_id: str) -> list[Message]:
        """A conversation's messages; raises Refused `conversation_not_found`."""
        page = await self.run_reader.list_messages(conversation_id, owner=None, limit=1_000_000)
        return page.items

    def replies(self, entity: str = RESPONSES_QUEUE) -> list[dict[str, Any]]:
        """The bodies of the replies sent so far."""
        return [json.loads(kept.body) for kept in self.broker.messages(entity)]

    async def settle(self) -> None:
        """Deliver every message that can be delivered now, and what follows from it."""
        for _ in range(MAX_MESSAGES):
            if not (
                await self._one_for_realm()
                or await self._one_of(MAIN_QUEUE)
                or await self._one_of(MCP_QUEUE)
            ):
                return
        raise AssertionError(f"the world did not come to rest within {MAX_MESSAGES} messages")

    async def advance(self, seconds: float) -> None:
        """Let time pass: what is scheduled is delivered at its moment, the mender looks."""
        end = self.clock.monotonic() + seconds
        while (left := end - self.clock.monotonic()) > 0:
            self.clock.advance(min(left, MEND_SECONDS))
            await self._moving_clock(self.mender.mend())
            await self.settle()

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

    async def _one_of(self, queue: str) -> bool:
        kept = self.broker.receive(queue)
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
            self.run_reader.notify(command.run)
        elif isinstance(command, RequestRun):
            await self.delegations.request(command)
        elif isinstance(command, CancelChild):
            await self.delegations.cancel(command)
        elif isinstance(command, CallTool):
            await self.tool_calls.handle(command)
        else:
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


def _as_outcome(tool: Callable[[Mapping[str, Any]], str]) -> MemoryTool:
    """The tool as the servers in memory have it."""
    return lambda arguments: ToolOutcome(outcome="ok", content=tool(arguments))
