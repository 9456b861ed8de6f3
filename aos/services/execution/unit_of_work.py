"""Opens the conversation that a command is about, and saves its changes once. Entry point:
`UnitsOfWork`.

A StartRun or a CancelRun only names a run. What the run is, and whose, comes from the request row
that main wrote: apps other than main may also send to `aos-realm`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime

from aos.domain.envelope import (
    CancelRun,
    DeleteConversation,
    EnvelopeError,
    Event,
    RealmCommand,
    StartRun,
)
from aos.domain.runs.conversation import Conversation, Step
from aos.domain.runs.event_log import record_events
from aos.domain.runs.run import AdmittedRequest, Run
from aos.errors import OutcomeUnknown, SessionLost, StaleWrite, TransientError
from aos.ports.conversations import ConversationStore, Loaded
from aos.ports.requests import RequestStore, StoredRequest
from aos.ports.system import Clock, Ids

HANDLER_SECONDS = 270.0
"""A handler ends 4 min 30 s after its start and leaves the rest to a ContinueRun."""
SAVE_TRIES = 4
SAVE_DELAY_SECONDS = 0.25


@dataclass(slots=True, kw_only=True)
class UnitOfWork:
    """A conversation while one handler works on it: what was read, and what is not saved yet.

    `command` is the command as main admitted it. `run` is the row of the run that it names.
    `not_before` is a time that the broker's clock has reached, even if ours has not.
    """

    command: RealmCommand
    conversation: Conversation
    etag: str | None
    run: Run | None
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

    async def open(self, command: RealmCommand) -> UnitOfWork | None:
        """Read what the command is about; None when it continues a conversation that is not there.

        Raises EnvelopeError for a start or a cancellation that main did not admit.
        """
        command, loaded = await self._load(command)
        conversation = loaded.conversation
        if conversation is None:
            request = await self._find_first_request(command)
            if request is None:
                return None
            conversation = Conversation.create(request, now=self._clock.now())
        return UnitOfWork(
            command=command,
            conversation=conversation,
            etag=loaded.etag,
            run=loaded.run,
            deadline=self._clock.monotonic() + HANDLER_SECONDS,
            clock=self._clock,
        )

    async def save(self, unit: UnitOfWork) -> None:
        """Write what is unsaved in one transaction.

        After a save without an answer the head is read: its write id tells whether it is ours.
        Raises SessionLost when another handler has written the head.
        """
        if unit.unsaved is None:
            return
        write_id = self._ids.new_id()
        head = replace(unit.unsaved.conversation, write_id=write_id)
        step = replace(unit.unsaved, conversation=head)
        try:
            unit.etag = await self._write(step, etag=unit.etag)
        except (StaleWrite, OutcomeUnknown) as error:
            loaded = await self._conversations.load(head.conversation_id)
            if loaded.conversation is None or loaded.conversation.write_id != write_id:
                raise SessionLost(
                    f"conversation {head.conversation_id!r} was written by another handler"
                ) from error
            unit.etag = loaded.etag
        unit.conversation = head
        unit.unsaved = None

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

    async def _load(self, command: RealmCommand) -> tuple[RealmCommand, Loaded]:
        if not isinstance(command, StartRun | CancelRun):
            return command, await self._conversations.load(command.conversation_id, run_id=None)
        stored, loaded = await asyncio.gather(
            self._requests.find(command.run_id),
            self._conversations.load(command.conversation_id, run_id=command.run_id),
        )
        return _replace_request(command, stored), loaded

    async def _write(self, step: Step, *, etag: str | None) -> str:
        """Save; try again a few times when the store says that it wrote nothing."""
        for attempt in range(SAVE_TRIES - 1):
            try:
                return await self._conversations.save(step, etag=etag)
            except OutcomeUnknown:
                raise
            except TransientError as error:
                delay = self._ids.jitter() * SAVE_DELAY_SECONDS * 2.0**attempt
                await self._clock.sleep(max(delay, error.retry_after_seconds or 0.0))
        return await self._conversations.save(step, etag=etag)


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
