"""Opens the conversation that a command is about, and saves its changes once. Entry point:
`UnitsOfWork`.

A StartRun or a CancelRun only names a run. What the run is, and whose, comes from the request row
that main wrote: apps other than main may also send to `aos-realm`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from aos.domain.envelope import (
    CancelRun,
    DeleteConversation,
    EnvelopeError,
    Event,
    RealmCommand,
    StartRun,
)
from aos.domain.runs.conversation import Conversation, Message, Step
from aos.domain.runs.event_log import record_events
from aos.domain.runs.run import AdmittedRequest
from aos.domain.runs.run_events import EventRow
from aos.errors import OutcomeUnknown, SessionLost, StaleWrite, TransientError
from aos.ports.conversations import ConversationStore, Loaded
from aos.ports.requests import RequestStore, StoredRequest
from aos.ports.system import Clock, Ids
from aos.services.execution.histories import Histories
from aos.services.execution.waiting_heads import WaitingHeads

HANDLER_SECONDS = 270.0
"""A handler ends 4 min 30 s after its start and leaves the rest to a ContinueRun."""
NEW_FOR = timedelta(seconds=10)
"""A StartRun that comes first, so soon after its admission, begins a run without a row. If it has
one after all, the save says so."""
STARTS_REMEMBERED = 4096
SAVE_TRIES = 4
SAVE_DELAY_SECONDS = 0.25


@dataclass(slots=True, kw_only=True)
class UnitOfWork:
    """A conversation while one handler works on it: what was read, and what is not saved yet.

    `command` is the command as main admitted it. `is_known`: the run that it names has a row.
    `new_run_id` is the run if it has none, until a save has written it. `not_before` is a time
    that the broker's clock has reached, even if ours has not.
    """

    command: RealmCommand
    conversation: Conversation
    etag: str | None
    is_known: bool
    new_run_id: str | None
    deadline: float
    clock: Clock
    not_before: datetime | None = None
    unsaved: Step | None = None
    events: tuple[Event, ...] = ()

    @property
    def catalog_version(self) -> int:
        """The oldest catalog version by which realm may judge this conversation's agent now."""
        head = self.conversation
        requests = head.queued[:1] if head.active is None else (head.active.request,)
        versions = [request.catalog_version for request in requests]
        if isinstance(self.command, StartRun | CancelRun):
            versions.append(self.command.request.catalog_version)
        return max(versions, default=0)

    def add(self, step: Step) -> None:
        """Apply a step to the conversation. A step that changes nothing is not saved."""
        rows = step.runs or step.messages or step.removed_messages or step.removed_runs
        if step.conversation == self.conversation and not rows:
            return
        step = record_events(self.conversation, step, now=self.clock.now())
        self.unsaved = step if self.unsaved is None else self.unsaved.then(step)
        self.conversation = step.conversation

    def tell(self, row: EventRow) -> None:
        """Have the next save write these provisional events too."""
        told = Step(conversation=self.conversation, provisional=(row,))
        self.unsaved = told if self.unsaved is None else self.unsaved.then(told)

    @property
    def unsaved_messages(self) -> tuple[Message, ...]:
        """The messages that the next save writes: the end of the history."""
        return () if self.unsaved is None else self.unsaved.messages

    @property
    def holds_answer(self) -> bool:
        """Whether an answer of the model is not saved yet."""
        return any(message.role == "assistant" for message in self.unsaved_messages)

    def empty_outbox(self, *, stays: bool) -> None:
        """Note that the outbox was sent. Where it `stays`, one that may stay in the head leaves it
        with the next save, which this is no reason for."""
        empty = self.conversation.clear_outbox()
        if stays and self.unsaved is None and self.conversation.may_keep_outbox:
            self.conversation = empty
        elif self.conversation.outbox:
            self.add(Step(conversation=empty))

    def tells(self, run_id: str) -> bool:
        """Whether what is unsaved has events of the run."""
        return self.unsaved is not None and any(row.run_id == run_id for row in self.unsaved.events)

    def close(self) -> None:
        """Note that the conversation's head was removed: nothing is left to save or to do."""
        self.unsaved = None
        self.conversation = replace(self.conversation, cleaning=None)


class UnitsOfWork:
    """Opens units of work and saves them."""

    def __init__(
        self,
        *,
        conversations: ConversationStore,
        requests: RequestStore,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._conversations = conversations
        self._requests = requests
        self._clock = clock
        self._ids = ids
        self._starts: OrderedDict[str, None] = OrderedDict()
        self._histories = Histories(conversations=conversations, clock=clock)
        self._waiting = WaitingHeads(clock=clock)

    async def open(self, command: RealmCommand, *, delivery_count: int = 1) -> UnitOfWork | None:
        """Read what the command is about; None when it continues a conversation that is not there.

        Raises EnvelopeError for a start or a cancellation that main did not admit.
        """
        is_first = delivery_count == 1
        remembered = self._waiting.take(command, is_first=is_first)
        if remembered is None:
            command, loaded = await self._load(command, is_first=is_first)
        else:
            loaded = remembered
        conversation = loaded.conversation
        if conversation is None:
            request = await self._find_first_request(command)
            if request is None:
                return None
            conversation = Conversation.create(request, now=self._clock.now())
        is_known = loaded.run is not None or conversation.tells_end_of(command.run_id)
        begins = isinstance(command, StartRun | CancelRun) and not is_known
        is_new = begins and not conversation.has_run(command.run_id)
        return UnitOfWork(
            command=command,
            conversation=conversation,
            etag=loaded.etag,
            is_known=is_known,
            new_run_id=command.run_id if is_new else None,
            deadline=self._clock.monotonic() + HANDLER_SECONDS,
            clock=self._clock,
        )

    async def read_history(self, unit: UnitOfWork, limit: int) -> Sequence[Message]:
        """Read the last messages of the conversation, those that are not saved included."""
        unsaved = unit.unsaved_messages[-limit:]
        saved = unit.conversation.next_sequence - len(unit.unsaved_messages)
        left = limit - len(unsaved)
        if not saved or not left:
            return unsaved
        assert unit.etag is not None
        name = unit.conversation.conversation_id
        stored = await self._histories.read(name, etag=unit.etag, before=saved, limit=left)
        return (*stored, *unsaved)

    async def save(self, unit: UnitOfWork) -> None:
        """Write what is unsaved in one transaction.

        After a save without an answer the head is read: its write id tells whether it is ours.
        Raises SessionLost when another handler has written the head, or the run that was new.
        """
        if unit.unsaved is None:
            return
        write_id = self._ids.new_id()
        head = replace(unit.unsaved.conversation, write_id=write_id)
        step, was = replace(unit.unsaved, conversation=head), unit.etag
        try:
            unit.etag = await self._write(step, etag=unit.etag, new_run_id=unit.new_run_id)
        except (StaleWrite, OutcomeUnknown) as error:
            loaded = await self._conversations.load(head.conversation_id)
            if loaded.conversation is None or loaded.conversation.write_id != write_id:
                raise SessionLost(
                    f"conversation {head.conversation_id!r} was written by another handler"
                ) from error
            unit.etag = loaded.etag
        assert unit.etag is not None
        self._histories.follow(step, was=was, now=unit.etag)
        unit.conversation = head
        unit.unsaved = None
        if any(run.run_id == unit.new_run_id for run in step.runs):
            unit.new_run_id = None

    def remember(self, unit: UnitOfWork) -> None:
        """Remember what the unit has saved for the result that comes next."""
        if unit.unsaved is None and unit.etag is not None:
            self._waiting.note(unit.conversation, unit.etag)

    async def _find_first_request(self, command: RealmCommand) -> AdmittedRequest | None:
        """The request with which this command begins a conversation; None if it begins none.

        A deletion that overtakes the first StartRun leaves a deleted head, by which realm judges
        the StartRun.
        """
        if isinstance(command, StartRun | CancelRun):
            return command.request
        if not isinstance(command, DeleteConversation) or command.first_run_id is None:
            return None
        stored = await self._requests.find(command.first_run_id)
        if stored is None or stored.scrubbed:
            return None
        is_of_it = stored.request.conversation_id == command.conversation_id
        return stored.request if is_of_it else None

    async def _load(self, command: RealmCommand, *, is_first: bool) -> tuple[RealmCommand, Loaded]:
        """Read the request, and the head and the row of the run where they may exist, at one
        time."""
        name, run_id = command.conversation_id, command.run_id
        if not isinstance(command, StartRun | CancelRun):
            return command, await self._conversations.load(name)
        looks_new = is_first and self._looks_new(command)
        # a conversation that begins with this run has no head
        if looks_new and name == run_id and self._is_first_start(run_id):
            stored, loaded = await self._requests.find(run_id), Loaded()
        else:
            stored, loaded = await asyncio.gather(
                self._requests.find(run_id),
                self._conversations.load(name, run_id=None if looks_new else run_id),
            )
        if looks_new and stored is not None and stored.cancel_requested_at is not None:
            loaded = await self._conversations.load(name, run_id=run_id)
        return _replace_request(command, stored), loaded

    def _is_first_start(self, run_id: str) -> bool:
        """Whether this process is asked for the first time to begin this run."""
        if run_id in self._starts:
            return False
        self._starts[run_id] = None
        if len(self._starts) > STARTS_REMEMBERED:
            self._starts.popitem(last=False)
        return True

    def _looks_new(self, command: StartRun | CancelRun) -> bool:
        """Whether the run has no row yet, as its first StartRun comes soon after its admission."""
        age = abs(self._clock.now() - command.request.admitted_at)
        return isinstance(command, StartRun) and not command.attempt and age < NEW_FOR

    async def _write(self, step: Step, *, etag: str | None, new_run_id: str | None) -> str:
        """Save; try again a few times when the store says that it wrote nothing."""
        for attempt in range(SAVE_TRIES - 1):
            try:
                return await self._conversations.save(step, etag=etag, new_run_id=new_run_id)
            except OutcomeUnknown:
                raise
            except TransientError as error:
                delay = self._ids.jitter() * SAVE_DELAY_SECONDS * 2.0**attempt
                await self._clock.sleep(max(delay, error.retry_after_seconds or 0.0))
        return await self._conversations.save(step, etag=etag, new_run_id=new_run_id)


def _replace_request(
    command: StartRun | CancelRun, stored: StoredRequest | None
) -> StartRun | CancelRun:
    """The command with the request that main stored.

    Raises EnvelopeError when main stored no such request, stored it for another conversation, or
    was not asked to cancel the run: the command is forged or damaged.
    """
    if stored is None or stored.request.conversation_id != command.conversation_id:
        raise EnvelopeError(
            f"main admitted no run {command.run_id!r} in conversation "
            f"{command.conversation_id!r}, so the {command.type} is ignored; find out who may "
            "send to aos-realm"
        )
    if isinstance(command, StartRun):
        return replace(command, request=stored.request)
    if stored.cancel_requested_at is None:
        raise EnvelopeError(
            f"nobody asked main to cancel run {command.run_id!r}, so the CancelRun is ignored; "
            "find out who may send to aos-realm"
        )
    return replace(command, request=stored.request, reason=stored.cancel_reason)
