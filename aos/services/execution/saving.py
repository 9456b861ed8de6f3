"""How is what a handler decided written, once, though storage may not answer?"""

from __future__ import annotations

from dataclasses import replace

from aos.domain.runs.conversation import Step
from aos.errors import OutcomeUnknown, SessionLost, StaleWrite, TransientError
from aos.ports.conversations import ConversationStore
from aos.ports.system import Clock, Ids
from aos.services.execution.work import Work

SAVE_TRIES = 4
SAVE_DELAY_SECONDS = 0.25


class Saving:
    """Saves the steps of handlers."""

    def __init__(self, *, conversations: ConversationStore, clock: Clock, ids: Ids) -> None:
        self._conversations = conversations
        self._clock = clock
        self._ids = ids

    async def save(self, work: Work) -> None:
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
