"""How does realm advance a conversation when a command wakes it?

Act on what is owed, not on what has just arrived: load the state, send what the outbox holds,
apply the command, then do what the conversation still owes. Each save is one transaction guarded
by the head's ETag, and nothing is sent before it is saved (docs/ARCHITECTURE.md, "The road").
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime
from typing import assert_never

from aos.domain.envelope import (
    Approve,
    CancelRun,
    ContinueRun,
    RealmCommand,
    StartRun,
    ToolResult,
)
from aos.domain.runs import advance, tool_turns
from aos.domain.runs.conversation import CardView, Conversation, Step
from aos.errors import Refused, TransientError
from aos.ports.agents import Agents, LiveAgent
from aos.ports.bus import Bus
from aos.ports.conversations import ConversationStore, Loaded
from aos.ports.requests import RequestStore
from aos.ports.system import Clock, Ids
from aos.ports.tools import Decisions
from aos.services.execution.admitted import as_admitted
from aos.services.execution.deciding import Deciding
from aos.services.execution.outcomes import events_of, step_of
from aos.services.execution.saving import Saving
from aos.services.execution.turns import Turns
from aos.services.execution.work import Work

GIVE_UP_AT_DELIVERY = 6
HANDLER_SECONDS = 270.0
"""A handler ends 4 min 30 s after its start and leaves the rest to a ContinueRun."""


class Execution:
    """Realm's use case: one command, one conversation, until nothing is owed."""

    def __init__(
        self,
        *,
        conversations: ConversationStore,
        requests: RequestStore,
        agents: Agents,
        decisions: Decisions,
        turns: Turns,
        bus: Bus,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._conversations = conversations
        self._requests = requests
        self._agents = agents
        self._turns = turns
        self._bus = bus
        self._clock = clock
        self._saving = Saving(conversations=conversations, clock=clock, ids=ids)
        self._deciding = Deciding(decisions=decisions, bus=bus)

    async def handle(self, command: RealmCommand, *, delivery_count: int = 1) -> None:
        """Handle one delivery of a command; return when it may be completed.

        Raises TransientError (hand the same command in again later), SessionLost (abandon it) and
        EnvelopeError (a start or a cancellation that main did not admit).
        """
        command, loaded = await self._load(command)
        work = self._open(command, loaded)
        if work is None:
            return
        await self._send(work)
        self._apply(work, command)
        if delivery_count >= GIVE_UP_AT_DELIVERY:
            work.add(work.conversation.give_up(now=self._now(work)))
        await self._obey_decisions(work)
        await self._do_what_is_owed(work)
        await self._save(work)
        await self._send(work)
        await self._save(work)

    async def _load(self, command: RealmCommand) -> tuple[RealmCommand, Loaded]:
        """The command as main admitted it, and the conversation it is about."""
        if not isinstance(command, StartRun | CancelRun):
            return command, await self._conversations.load(command.conversation_id, run_id=None)
        stored, loaded = await asyncio.gather(
            self._requests.find(command.run_id),
            self._conversations.load(command.conversation_id, run_id=command.run_id),
        )
        return as_admitted(command, stored), loaded

    def _open(self, command: RealmCommand, loaded: Loaded) -> Work | None:
        """Take the conversation in hand; None when there is none to continue."""
        conversation = loaded.conversation
        version = 0
        if isinstance(command, StartRun | CancelRun):
            version = command.request.catalog_version
            if conversation is None:
                conversation = Conversation.create(command.request, now=self._clock.now())
        if conversation is None:
            return None
        return Work(
            conversation=conversation,
            etag=loaded.etag,
            known=loaded.run,
            catalog_version=version,
            deadline=self._clock.monotonic() + HANDLER_SECONDS,
        )

    def _apply(self, work: Work, command: RealmCommand) -> None:
        now = self._now(work)
        known = work.known is not None
        match command:
            case StartRun(request=request):
                work.add(advance.admit(work.conversation, request, known=known, now=now))
            case CancelRun():
                work.add(advance.cancel(work.conversation, command, known=known, now=now))
            case ContinueRun():
                active = work.conversation.active
                if active is not None and command.due is not None and command.due == active.wake_at:
                    work.not_before = command.due
                work.add(advance.clear_wait(work.conversation, command))
            case ToolResult():
                work.add(
                    tool_turns.take_result(
                        work.conversation,
                        run_id=command.run_id,
                        tool_call_id=command.tool_call_id,
                        result=command.result,
                        tokens=command.tokens,
                        now=now,
                    )
                )
            case Approve():
                pass  # it only wakes: the decision's row is what counts
            case _:
                assert_never(command)

    async def _obey_decisions(self, work: Work) -> None:
        """Do what was decided about calls that wait for a person, unless the agent may not run."""
        active = work.conversation.active
        if active is None or not any(call.is_undecided for call in active.calls):
            return
        if not await self._ended_as_disabled(work):
            await self._deciding.obey(work, now=self._now(work))

    async def _do_what_is_owed(self, work: Work) -> None:
        """Until nothing is owed, or the rest is left to a ContinueRun in the outbox."""
        while not work.conversation.has_continuation:
            now = self._now(work)
            owed = advance.find_next_action(work.conversation, now=now)
            match owed.what:
                case "nothing" | "wait":
                    return
                case "tools":
                    work.add(tool_turns.schedule_deadline(work.conversation))
                    return
                case "expire":
                    assert owed.request is not None
                    work.add(work.conversation.expire(owed.request, now=now))
                case "start":
                    card = await self._card_view(work)
                    work.add(advance.start_next(work.conversation, card, now=now))
                case "time_out":
                    work.add(work.conversation.time_out(now=now))
                case "turn":
                    await self._turn(work)
                case _:
                    assert_never(owed.what)

    async def _turn(self, work: Work) -> None:
        """One model call for the active run, and what follows from its outcome."""
        active = work.conversation.active
        assert active is not None
        if await self._ended_as_disabled(work):
            return
        spent = tool_turns.end_if_out_of_tokens(work.conversation, now=self._now(work))
        if spent is not None:
            work.add(spent)
            return
        if active.turns and work.unsaved is not None:
            await self._save(work)  # the turn reads the history as it is stored
        card = await self._agents.card(active.card_digest)
        outcome = await self._turns.take(
            work.conversation,
            active,
            card,
            handler_deadline=work.deadline,
            on_slow=lambda: self._save(work),
        )
        now = self._now(work)
        work.events = (*work.events, *events_of(active, outcome, at=now))
        work.add(step_of(work.conversation, active, card, outcome, now=now))

    async def _ended_as_disabled(self, work: Work) -> bool:
        """End the active run when its agent was switched off; did it end?"""
        view = await self._card_view(work)
        ended = advance.end_if_disabled(work.conversation, view, now=self._now(work))
        if ended is None:
            return False
        work.add(ended)
        return True

    async def _card_view(self, work: Work) -> CardView:
        """The agent of this conversation as the catalog has it now."""
        agent_id = work.conversation.agent_id
        version = max(work.catalog_version, _judged_by(work.conversation))
        try:
            live: LiveAgent = await self._agents.find(agent_id, at_least=version)
        except Refused:
            return CardView(state="removed")
        limits = live.card.limits
        return CardView(
            state=live.state,
            digest=live.digest,
            run_timeout_seconds=limits.run_timeout_seconds,
            max_tokens=limits.max_tokens_per_run,
        )

    async def _save(self, work: Work) -> None:
        """Write what is unsaved in one transaction."""
        await self._saving.save(work)

    async def _send(self, work: Work) -> None:
        """Send the saved outbox, and enter what waits for people in their list.

        To say so in the state is left to the next save.
        """
        for outgoing in work.conversation.outbox:
            await self._bus.send(outgoing)
        for event in work.events:
            with contextlib.suppress(TransientError):
                await self._bus.publish(event)
        work.events = ()
        if work.conversation.outbox:
            work.add(Step(conversation=work.conversation.clear_outbox()))
        await self._deciding.ask(work)

    def _now(self, work: Work) -> datetime:
        """The time, and never earlier than the broker has said that it is."""
        now = self._clock.now()
        return now if work.not_before is None else max(now, work.not_before)


def _judged_by(conversation: Conversation) -> int:
    """The catalog version that main judged by when it admitted the run whose turn it is."""
    if conversation.active is not None:
        return conversation.active.request.catalog_version
    return max((request.catalog_version for request in conversation.queued[:1]), default=0)
