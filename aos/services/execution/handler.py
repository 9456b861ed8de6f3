"""How does realm advance a conversation when a command wakes it?

Act on what is owed, not on what has just arrived: load the state, send what the outbox holds,
apply the command, then do what the conversation still owes. Each save is one transaction guarded
by the head's ETag, and nothing is sent before it is saved (docs/ARCHITECTURE.md, "The road").
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from aos.domain import advance
from aos.domain.conversation import ActiveRun, CardView, Conversation, Step
from aos.domain.envelope import (
    AGENT_EVENTS,
    Approve,
    CancelRun,
    ContinueRun,
    Event,
    RealmCommand,
    StartRun,
    ToolResult,
)
from aos.domain.run import Run, RunStatus
from aos.errors import OutcomeUnknown, Refused, SessionLost, StaleWrite, TransientError
from aos.ports import Agents, Bus, Clock, ConversationStore, Ids, LiveAgent, Telemetry
from aos.services.execution.turns import (
    Answered,
    Away,
    Cancelled,
    Failed,
    OutOfTime,
    RanOut,
    TurnOutcome,
    Turns,
)

GIVE_UP_AT_DELIVERY = 6
HANDLER_SECONDS = 270.0
"""A handler ends 4 min 30 s after its start and leaves the rest to a ContinueRun."""
SAVE_TRIES = 4
SAVE_DELAY_SECONDS = 0.25


@dataclass(slots=True, kw_only=True)
class _Work:
    """One handler's hold on one conversation: what it read, and what it has not saved yet."""

    conversation: Conversation
    etag: str | None
    known: Run | None
    catalog_version: int
    deadline: float
    unsaved: Step | None = None
    events: tuple[Event, ...] = ()

    def add(self, step: Step) -> None:
        """Take a rule's step on; one that changes nothing leaves nothing to save."""
        if step.conversation == self.conversation and not step.runs and not step.messages:
            return
        self.unsaved = step if self.unsaved is None else self.unsaved.then(step)
        self.conversation = step.conversation


class Execution:
    """Realm's use case: one command, one conversation, until nothing is owed."""

    def __init__(
        self,
        *,
        conversations: ConversationStore,
        agents: Agents,
        turns: Turns,
        bus: Bus,
        clock: Clock,
        ids: Ids,
        telemetry: Telemetry,
    ) -> None:
        self._conversations = conversations
        self._agents = agents
        self._turns = turns
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._telemetry = telemetry

    async def handle(self, command: RealmCommand, *, delivery_count: int = 1) -> None:
        """Handle one delivery of a command; return when it may be completed.

        Raises TransientError (hand the same command in again later) and SessionLost (abandon it).
        """
        work = await self._open(command)
        if work is None:
            return
        await self._send(work)
        self._apply(work, command)
        if delivery_count >= GIVE_UP_AT_DELIVERY:
            work.add(advance.give_up(work.conversation, now=self._clock.now()))
        await self._do_what_is_owed(work)
        await self._save(work)
        await self._send(work)
        await self._save(work)

    async def _open(self, command: RealmCommand) -> _Work | None:
        """Load the conversation; None when there is none to continue."""
        starting = isinstance(command, StartRun | CancelRun)
        run_id = command.run_id if starting else None
        loaded = await self._conversations.load(command.conversation_id, run_id=run_id)
        conversation = loaded.conversation
        version = 0
        if isinstance(command, StartRun | CancelRun):
            version = command.request.catalog_version
            if conversation is None:
                conversation = Conversation.begun_by(command.request, now=self._clock.now())
        if conversation is None:
            return None
        return _Work(
            conversation=conversation,
            etag=loaded.etag,
            known=loaded.run,
            catalog_version=version,
            deadline=self._clock.monotonic() + HANDLER_SECONDS,
        )

    def _apply(self, work: _Work, command: RealmCommand) -> None:
        now = self._clock.now()
        known = work.known is not None
        match command:
            case StartRun(request=request):
                work.add(advance.admit(work.conversation, request, known=known, now=now))
            case CancelRun(request=request):
                work.add(advance.cancel(work.conversation, request, known=known, now=now))
            case ContinueRun():
                work.add(advance.woken(work.conversation, command))
            case ToolResult() | Approve():
                pass
            case _:
                assert_never(command)

    async def _do_what_is_owed(self, work: _Work) -> None:
        """Until nothing is owed, or the rest is left to a ContinueRun in the outbox."""
        while not advance.wakes_itself(work.conversation):
            now = self._clock.now()
            owed = advance.owed(work.conversation, now=now)
            match owed.what:
                case "nothing" | "wait":
                    return
                case "expire":
                    assert owed.request is not None
                    work.add(advance.expire(work.conversation, owed.request, now=now))
                case "start":
                    card = await self._card_view(work)
                    work.add(advance.start_next(work.conversation, card, now=now))
                case "time_out":
                    work.add(advance.timed_out(work.conversation, now=now))
                case "turn":
                    await self._turn(work)
                case _:
                    assert_never(owed.what)

    async def _turn(self, work: _Work) -> None:
        """One model call for the active run, and what follows from its outcome."""
        active = work.conversation.active
        assert active is not None
        view = await self._card_view(work)
        ended = advance.disabled(work.conversation, view, now=self._clock.now())
        if ended is not None:
            work.add(ended)
            return
        card = await self._agents.card(active.card_digest)
        with self._telemetry.span(
            "agent_operation",
            traceparent=active.request.traceparent,
            **_span_attributes(active),
        ) as span:
            outcome = await self._turns.take(
                work.conversation,
                active,
                card,
                handler_deadline=work.deadline,
                on_slow=lambda: self._save(work),
            )
            span.set(outcome=type(outcome).__name__.lower())
        work.add(self._after(work, active, outcome))

    def _after(self, work: _Work, active: ActiveRun, outcome: TurnOutcome) -> Step:
        conversation, now = work.conversation, self._clock.now()
        match outcome:
            case Answered(answer=answer, seconds=seconds, missing_adapter=missing):
                if missing is not None:
                    work.events = (*work.events, _adapter_missing(active, missing, at=now))
                return advance.answered(
                    conversation,
                    text=answer.text,
                    usage=answer.usage,
                    model=answer.model,
                    seconds=seconds,
                    now=now,
                )
            case Away(retry_after=retry_after):
                return advance.model_away(conversation, now=now, retry_after=retry_after)
            case Failed(error=error):
                return advance.end_active(conversation, RunStatus.FAILED, error=error, now=now)
            case Cancelled():
                return advance.end_active(conversation, RunStatus.CANCELLED, now=now)
            case RanOut():
                return advance.timed_out(conversation, now=now)
            case OutOfTime():
                return advance.go_on_later(conversation)
            case _:
                assert_never(outcome)

    async def _card_view(self, work: _Work) -> CardView:
        """The agent of this conversation as the catalog has it now."""
        agent_id = work.conversation.agent_id
        try:
            live: LiveAgent = await self._agents.find(agent_id, at_least=work.catalog_version)
        except Refused:
            return CardView(state="removed")
        return CardView(
            state=live.state,
            digest=live.digest,
            run_timeout_seconds=live.card.limits.run_timeout_seconds,
        )

    async def _save(self, work: _Work) -> None:
        """Write what is unsaved in one transaction.

        A save whose answer was lost is found again by its write id; when the head holds
        somebody else's write, our session is lost.
        """
        if work.unsaved is None:
            return
        write_id = self._ids.new_id()
        head = replace(work.unsaved.conversation, write_id=write_id)
        step = replace(work.unsaved, conversation=head)
        try:
            work.etag = await self._write(step, etag=work.etag)
        except (StaleWrite, OutcomeUnknown) as error:
            loaded = await self._conversations.load(head.conversation_id)
            if loaded.conversation is None or loaded.conversation.write_id != write_id:
                raise SessionLost(
                    f"conversation {head.conversation_id!r} was written by another handler"
                ) from error
            work.etag = loaded.etag
        work.conversation = head
        work.unsaved = None

    async def _write(self, step: Step, *, etag: str | None) -> str:
        """Save, a few quick tries while the store says that nothing was written."""
        for attempt in range(SAVE_TRIES - 1):
            try:
                return await self._conversations.save(step, etag=etag)
            except OutcomeUnknown:
                raise
            except TransientError as error:
                delay = self._ids.jitter() * SAVE_DELAY_SECONDS * 2.0**attempt
                await self._clock.sleep(max(delay, error.retry_after_seconds or 0.0))
        return await self._conversations.save(step, etag=etag)

    async def _send(self, work: _Work) -> None:
        """Send the saved outbox; clearing it is left to the next save."""
        for outgoing in work.conversation.outbox:
            await self._bus.send(outgoing)
        for event in work.events:
            with contextlib.suppress(TransientError):
                await self._bus.publish(event)
        work.events = ()
        if work.conversation.outbox:
            work.add(Step(conversation=advance.sent(work.conversation)))


def _span_attributes(active: ActiveRun) -> dict[str, object]:
    """OpenTelemetry's GenAI conventions, and our ids."""
    request = active.request
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.id": request.agent_id,
        "gen_ai.conversation.id": request.conversation_id,
        "run_id": request.run_id,
        "conversation_id": request.conversation_id,
        "agent_id": request.agent_id,
    }


def _adapter_missing(active: ActiveRun, adapter: str, *, at: datetime) -> Event:
    request = active.request
    return Event(
        topic=AGENT_EVENTS,
        id=f"{request.run_id}:adapter",
        type="agent.adapter_missing",
        source=f"aos/agents/{request.agent_id}",
        time=at,
        data={"run_id": request.run_id, "agent_id": request.agent_id, "adapter_name": adapter},
        traceparent=request.traceparent,
    )
