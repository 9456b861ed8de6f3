"""Deletes a conversation in bounded steps. Entry points: `Deletions.apply`, `Deletions.clean`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from aos.domain.envelope import DeleteConversation
from aos.domain.runs import deletion
from aos.domain.runs.conversation import ALL_RUNS, Cleaning, Conversation, Step
from aos.domain.runs.run import Run
from aos.ports.conversations import ConversationStore
from aos.ports.deletion import Eraser
from aos.ports.ledger import Ledger
from aos.ports.requests import RequestStore
from aos.services.execution.unit_of_work import UnitOfWork


class Deletions:
    """Realm's part of a deletion."""

    def __init__(
        self,
        *,
        eraser: Eraser,
        ledger: Ledger,
        requests: RequestStore,
        conversations: ConversationStore,
    ) -> None:
        self._eraser = eraser
        self._ledger = ledger
        self._requests = requests
        self._conversations = conversations

    async def apply(self, unit: UnitOfWork, command: DeleteConversation, *, now: datetime) -> None:
        """Apply the command, unless it is for unused conversations and this one was used."""
        is_known = unit.conversation.deleted_at == command.deleted_at
        if command.unused and not is_known and await self._is_used(unit.conversation, command):
            return
        unit.add(deletion.delete(unit.conversation, command, now=now))

    async def clean(self, unit: UnitOfWork, *, now: datetime) -> None:
        """Take one step of the cleaning. The caller saves it before the next one.

        The rows of a run are scrubbed only when its reply is out, because until then a reply that
        is repeated is made of them.
        """
        conversation, cleaning = unit.conversation, unit.conversation.cleaning
        assert cleaning is not None
        if cleaning.messages:
            unit.add(deletion.remove_messages(conversation, cleaning))
        elif cleaning.after != ALL_RUNS:
            runs = await self._eraser.list_runs(
                conversation.conversation_id, after=cleaning.after, limit=deletion.RUNS_A_STEP
            )
            old = await self._choose_old(conversation, cleaning, runs)
            passed = deletion.pass_runs(conversation, cleaning, runs)
            unit.add(await self._scrub(passed, cleaning, old, waiting=conversation, now=now))
        elif cleaning.late:
            old = await self._find_late(conversation, cleaning)
            passed = deletion.pass_late(conversation, cleaning)
            unit.add(await self._scrub(passed, cleaning, old, waiting=conversation, now=now))
        elif deletion.keeps_texts(conversation, cleaning) or await self._eraser.remove_texts(
            conversation.conversation_id
        ):
            await self._finish(unit, cleaning)

    async def _choose_old(
        self, conversation: Conversation, cleaning: Cleaning, runs: Sequence[Run]
    ) -> list[Run]:
        """Choose the runs whose rows are to be removed."""
        if cleaning.again:
            late = [run for run in runs if deletion.may_be_late(conversation, run)]
            return await self._keep_deleted(conversation, late)
        is_last = cleaning.is_last
        return [run for run in runs if deletion.is_old(conversation, run, is_last=is_last)]

    async def _scrub(
        self,
        passed: Step,
        cleaning: Cleaning,
        old: Sequence[Run],
        *,
        waiting: Conversation,
        now: datetime,
    ) -> Step:
        """Scrub these runs, or wait if one of them still needs its rows."""
        if not cleaning.is_last:
            answered = await asyncio.gather(*(self._is_answered(run, now=now) for run in old))
            if not all(answered):
                return deletion.wait_for_reply(waiting, cleaning, now=now)
            await asyncio.gather(*(self._eraser.scrub(run) for run in old))
        return deletion.write_scrubbed(passed, old, is_last=cleaning.is_last)

    async def _is_answered(self, run: Run, *, now: datetime) -> bool:
        """Whether the run's reply is out and its usage counted. The record of that ends with the
        request row."""
        if run.ended_at is None or now - run.ended_at < deletion.HEARD:
            return False
        seen = await self._ledger.find(run)
        is_counted = seen is not None and seen.counted
        return is_counted or await self._requests.find(run.run_id) is None

    async def _find_late(self, conversation: Conversation, cleaning: Cleaning) -> list[Run]:
        name = conversation.conversation_id
        late = cleaning.late[: deletion.RUNS_A_STEP]
        found = await asyncio.gather(*(self._conversations.find_run(name, item) for item in late))
        return await self._keep_deleted(conversation, [run for run in found if run is not None])

    async def _keep_deleted(self, conversation: Conversation, runs: Sequence[Run]) -> list[Run]:
        """Return those of the runs that were deleted."""
        gone = await asyncio.gather(*(self._was_deleted(conversation, run) for run in runs))
        return [run for run, is_gone in zip(runs, gone, strict=True) if is_gone]

    async def _was_deleted(self, conversation: Conversation, run: Run) -> bool:
        """Whether a run that a late command names was deleted: it may have been admitted after
        the deletion was asked for, and have started before realm knew of it."""
        if deletion.is_old(conversation, run, is_last=True):
            return True
        stored = await self._requests.find(run.run_id)
        return stored is None or stored.scrubbed

    async def _finish(self, unit: UnitOfWork, cleaning: Cleaning) -> None:
        """End the cleaning; the last one removes the head, if no conversation stands."""
        conversation = unit.conversation
        if cleaning.is_last and conversation.is_deleted and not conversation.queued:
            assert unit.etag is not None
            await self._eraser.remove_head(conversation.conversation_id, etag=unit.etag)
            unit.close()
            return
        unit.add(deletion.finish(conversation))

    async def _is_used(self, conversation: Conversation, command: DeleteConversation) -> bool:
        """Whether a run is going on, or a message was written, after the command's time."""
        if conversation.active is not None or conversation.queued or conversation.is_deleted:
            return True
        last = await self._conversations.read_history(
            conversation.conversation_id, before=conversation.next_sequence, limit=1
        )
        moments = [message.created_at for message in last] or [conversation.created_at]
        return max(moments) > command.deleted_at
