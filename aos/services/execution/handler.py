"""Advances a conversation when a command arrives for it. Entry point: `Execution.handle`.

The handler loads the state, sends the outbox, applies the command, and then does whatever the state
asks for, until nothing is left to do. Each save is one transaction that the head's ETag guards, and
nothing is sent before it is saved (docs/ARCHITECTURE.md, "The road of a request").
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime
from typing import assert_never

from aos.domain.budgets import Budget, list_budgets
from aos.domain.cards.agent_card import AgentCard
from aos.domain.envelope import (
    Approve,
    CancelRun,
    ContinueRun,
    DeleteConversation,
    RealmCommand,
    RemoveDeltas,
    StartRun,
    ToolResult,
    WatchRun,
)
from aos.domain.retries import GIVE_UP_AT_DELIVERY
from aos.domain.runs import advance, tool_questions, tool_turns
from aos.domain.runs.conversation import CardView, Conversation, Step
from aos.domain.runs.deletion import clean_late
from aos.domain.runs.run import AdmittedRequest, RunStatus, brings_history
from aos.domain.runs.run_events import EventRow
from aos.domain.runs.watching import is_watched, watch
from aos.errors import ErrorInfo, Refused, TransientError
from aos.ports.agents import Agents, LiveAgent
from aos.ports.asks import Decisions, Questions
from aos.ports.bus import Bus
from aos.ports.conversations import ConversationStore
from aos.ports.ledger import Ledger
from aos.ports.requests import RequestStore
from aos.ports.system import Clock, Ids
from aos.services.execution.asks import RealmAsks
from aos.services.execution.deletion import Deletions
from aos.services.execution.outbox import Outbox
from aos.services.execution.turn_budget import TurnBudgets
from aos.services.execution.turn_outcome import (
    Answered,
    count_tokens,
    is_answer_lost,
    make_events,
    make_step,
)
from aos.services.execution.turn_stream import TurnStreams
from aos.services.execution.turns import Turns
from aos.services.execution.unit_of_work import UnitOfWork, UnitsOfWork


class Execution:
    """Realm's use case: handle one command of one conversation."""

    def __init__(
        self,
        *,
        conversations: ConversationStore,
        requests: RequestStore,
        agents: Agents,
        decisions: Decisions,
        questions: Questions,
        turns: Turns,
        streams: TurnStreams,
        budgets: TurnBudgets,
        deletions: Deletions,
        ledger: Ledger,
        bus: Bus,
        clock: Clock,
        ids: Ids,
        owner_tokens: int | None = None,
    ) -> None:
        self._agents = agents
        self._turns = turns
        self._streams = streams
        self._budgets = budgets
        self._owner_tokens = owner_tokens
        self._deletions = deletions
        self._bus = bus
        self._clock = clock
        self._units = UnitsOfWork(
            conversations=conversations, requests=requests, clock=clock, ids=ids
        )
        self._outbox = Outbox(bus=bus, ledger=ledger)
        self._asks = RealmAsks(decisions=decisions, questions=questions, bus=bus)

    async def handle(
        self,
        command: RealmCommand,
        *,
        delivery_count: int = 1,
        not_before: datetime | None = None,
    ) -> None:
        """Handle one delivery of a command; the message may be completed afterwards.

        `not_before` is a time that the broker's clock has reached, even if ours has not: a wait
        that is scheduled from a clock behind the broker's would end at once, again and again.
        Raises TransientError (deliver the command again later), SessionLost (abandon the message)
        and EnvelopeError (main did not admit this start or this cancellation).
        """
        unit, _ = await asyncio.gather(
            self._units.open(command, delivery_count=delivery_count), self._look_ahead(command)
        )
        if unit is None:
            return
        unit.not_before = not_before
        await self._outbox.send_found(unit, now=self._now(unit))
        await self._asks.ask(unit)
        match unit.command:
            case DeleteConversation():
                await self._deletions.apply(unit, unit.command, now=self._now(unit))
            case RemoveDeltas():
                await self._streams.remove(unit.conversation, unit.command)
            case _:
                self._apply(unit, unit.command)
        if delivery_count >= GIVE_UP_AT_DELIVERY:
            unit.add(unit.conversation.give_up(now=self._now(unit)))
        await self._apply_decisions(unit)
        await self._do_next_actions(unit)
        await self._save(unit)
        await self._send(unit)
        await self._save(unit)
        self._units.remember(unit)

    async def _look_ahead(self, command: RealmCommand) -> None:
        """Read what the turn needs beside the conversation while that is read: the catalog, and the
        tools of a new run's agent, if it is time to read them again."""
        with contextlib.suppress(TransientError, Refused):
            match command:
                case StartRun(request=request):
                    live = await self._agents.find(
                        request.agent_id, at_least=request.catalog_version
                    )
                    await self._turns.look_ahead(live.card)
                case ContinueRun() | ToolResult():
                    await self._agents.version()

    def _apply(
        self,
        unit: UnitOfWork,
        command: StartRun | CancelRun | ContinueRun | ToolResult | Approve | WatchRun,
    ) -> None:
        now, known = self._now(unit), unit.is_known
        match command:
            case StartRun(request=request):
                unit.add(advance.admit(unit.conversation, request, known=known, now=now))
            case CancelRun():
                unit.add(advance.cancel(unit.conversation, command, known=known, now=now))
            case ContinueRun():
                self._trust_broker(unit, command)
                unit.add(advance.clear_wait(unit.conversation, command))
            case ToolResult():
                self._clean_after(unit, command)
                unit.add(_take_result(unit.conversation, command, now=now))
            case WatchRun():
                unit.add(watch(unit.conversation, command, now=now))
            case Approve():  # the stored decision or answer counts; the command only wakes
                self._clean_after(unit, command)
            case _:
                assert_never(command)

    def _trust_broker(self, unit: UnitOfWork, command: ContinueRun) -> None:
        """Note that the broker's clock has reached the deadline, even if ours has not."""
        active = unit.conversation.active
        if active is not None and command.due is not None and command.due == active.wake_at:
            unit.not_before = max(command.due, unit.not_before or command.due)

    def _clean_after(self, unit: UnitOfWork, command: ToolResult | Approve) -> None:
        """Clean the rows of a call whose result, decision or answer was written after its
        conversation was deleted."""
        head = unit.conversation
        if head.deleted_at is not None and not head.has_run(command.run_id):
            unit.add(Step(conversation=clean_late(head, command.run_id)))

    async def _apply_decisions(self, unit: UnitOfWork) -> None:
        """Apply the decisions and answers that calls wait for, unless the agent was disabled."""
        active = unit.conversation.active
        if active is None or not any(call.is_undecided for call in active.calls):
            return
        if not await self._end_if_disabled(unit):
            await self._asks.apply(unit, now=self._now(unit))

    async def _do_next_actions(self, unit: UnitOfWork) -> None:
        """Act until nothing is left to do, or a ContinueRun in the outbox does the rest."""
        while not unit.conversation.has_continuation:
            now = self._now(unit)
            action = advance.find_next_action(unit.conversation, now=now)
            match action.what:
                case "nothing" | "wait":
                    return
                case "tools":
                    unit.add(tool_turns.schedule_deadline(unit.conversation))
                    return
                case "clean":
                    await self._clean(unit)
                case "expire":
                    assert action.request is not None
                    unit.add(unit.conversation.expire(action.request, now=now))
                case "start":
                    if brings_history(unit.conversation.queued[0]):
                        await self._save(unit)  # the history fills a transaction of its own
                    card = await self._read_card(unit)
                    unit.add(advance.start_next(unit.conversation, card, now=now))
                case "time_out":
                    unit.add(unit.conversation.time_out(now=now))
                case "turn":
                    await self._take_turn(unit)
                case _:
                    assert_never(action.what)

    async def _clean(self, unit: UnitOfWork) -> None:
        """Take one step of a deletion and save it; leave the rest to a ContinueRun when the
        handler's time is over."""
        if self._clock.monotonic() >= unit.deadline:
            name = unit.conversation.conversation_id
            unit.add(Step(conversation=unit.conversation.schedule_continue(name)))
            return
        await self._save(unit)
        await self._deletions.clean(unit, now=self._now(unit))
        await self._save(unit)

    async def _take_turn(self, unit: UnitOfWork) -> None:
        """Ask the model for the active run and apply the outcome."""
        active = unit.conversation.require_active()
        view = await self._read_card(unit)
        if self._end_if_not_enabled(unit, view):
            return
        end = tool_turns.end_if_out_of_tokens(unit.conversation, now=self._now(unit))
        if end is not None:
            unit.add(end)
            return
        watched = is_watched(active.request, now=self._now(unit))
        card = await self._agents.card(active.card_digest)
        is_new, first = unit.tells(active.request.run_id), None
        if watched and is_new and card.adapter_name is None:
            first = self._streams.announce(unit.conversation, self._turns.name_model(card))
            unit.tell(first)
        if watched or unit.holds_answer or brings_history(active.request):
            await self._save(unit)  # readers see its events, and no answer is asked for twice
        turn = await self._budgets.open(
            active.request.run_id, self._list_budgets(active.request, card, view)
        )
        if isinstance(turn, ErrorInfo):
            unit.add(
                unit.conversation.end_active(RunStatus.FAILED, error=turn, now=self._now(unit))
            )
            return
        rest: EventRow | None = None
        async with self._streams.open(
            unit.conversation, watched=watched, is_new=is_new, first=first
        ) as stream:
            outcome, spent = await self._turns.take(
                unit.conversation,
                active,
                card,
                handler_deadline=unit.deadline,
                read_history=lambda limit: self._units.read_history(unit, limit),
                on_slow=lambda: self._save(unit),
                sink=stream,
            )
            if stream is not None:
                answer = outcome.answer if isinstance(outcome, Answered) else None
                rest = await stream.finish(answer)
        tokens = spent.usage.total_tokens + count_tokens(outcome)
        await self._budgets.close(turn, tokens=tokens, lost=is_answer_lost(outcome))
        now = self._now(unit)
        unit.events = (*unit.events, *make_events(active, outcome, at=now))
        unit.add(make_step(unit.conversation, active, card, outcome, spent=spent, now=now))
        if rest is not None:
            unit.tell(rest)

    async def _end_if_disabled(self, unit: UnitOfWork) -> bool:
        """End the active run when its agent was disabled; True when it ended."""
        return self._end_if_not_enabled(unit, await self._read_card(unit))

    def _end_if_not_enabled(self, unit: UnitOfWork, view: CardView) -> bool:
        end = advance.end_if_disabled(unit.conversation, view, now=self._now(unit))
        if end is None:
            return False
        unit.add(end)
        return True

    def _list_budgets(
        self, request: AdmittedRequest, card: AgentCard, view: CardView
    ) -> tuple[Budget, ...]:
        """The daily budgets of the run. Those of the agent's live card count, so that an operator
        can raise them; a removed agent's runs keep those of their card."""
        is_removed = view.state == "removed"
        return list_budgets(
            agent_id=request.agent_id,
            agent_tokens=card.limits.max_tokens_per_day if is_removed else view.max_tokens_per_day,
            owner=request.owner,
            owner_tokens=self._owner_tokens,
        )

    async def _read_card(self, unit: UnitOfWork) -> CardView:
        """The conversation's agent as the catalog has it now."""
        try:
            live: LiveAgent = await self._agents.find(
                unit.conversation.agent_id, at_least=unit.catalog_version
            )
        except Refused:
            return CardView(state="removed")
        limits = live.card.limits
        return CardView(
            state=live.state,
            digest=live.digest,
            run_timeout_seconds=limits.run_timeout_seconds,
            max_tokens=limits.max_tokens_per_run,
            max_tokens_per_day=limits.max_tokens_per_day,
        )

    async def _save(self, unit: UnitOfWork) -> None:
        """Write what is unsaved in one transaction."""
        await self._units.save(unit)

    async def _send(self, unit: UnitOfWork) -> None:
        """Send the saved outbox, and add the calls that wait for a person to the lists.

        The next save stores that this was done.
        """
        await self._outbox.send_saved(unit)
        for event in unit.events:
            with contextlib.suppress(TransientError):
                await self._bus.publish(event)
        unit.events = ()
        await self._asks.ask(unit)

    def _now(self, unit: UnitOfWork) -> datetime:
        """The time, not earlier than a time that the broker's clock has reached."""
        now = self._clock.now()
        return now if unit.not_before is None else max(now, unit.not_before)


def _take_result(conversation: Conversation, command: ToolResult, *, now: datetime) -> Step:
    """Take the result of a call, or let the call wait for the answers to its questions."""
    if command.pause is not None:
        return tool_questions.pause_call(
            conversation,
            run_id=command.run_id,
            tool_call_id=command.tool_call_id,
            round_number=command.round_number,
            outcome=command.result,
            now=now,
        )
    return tool_turns.take_result(
        conversation,
        run_id=command.run_id,
        tool_call_id=command.tool_call_id,
        round_number=command.round_number,
        result=command.result,
        tokens=command.tokens,
        usage=command.usage,
        now=now,
    )
