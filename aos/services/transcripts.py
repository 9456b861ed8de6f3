"""Writes what a run said to the container `aos-logs`, unless it was deleted. Entry
points: `Transcripts.order`, `Transcripts.write`.

The end of a run only orders the transcript: a message of the storage queue `aos-jobs`. The order
may come late, twice, or after the deletion of its conversation. A deletion wins: the head decides
before the blob is written and once more after that. Whoever removes a conversation's transcripts
has marked its head before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from aos.domain.jobs import ArchiveRun
from aos.domain.runs.conversation import Conversation, Message
from aos.domain.runs.run import AdmittedRequest, Run
from aos.domain.transcripts import make_transcript_name, write_transcript
from aos.errors import TransientError
from aos.ports.blobs import BlobStore
from aos.ports.cleaning import Due, DueStore
from aos.ports.conversations import ConversationStore
from aos.ports.index import IndexedRun
from aos.ports.jobs import JobQueue
from aos.ports.requests import RequestStore

PAGE = 100
WORST_SKEW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """What a transcript is made of; `request` is None when its row is gone."""

    head: Conversation
    run: Run
    request: AdmittedRequest | None


class Transcripts:
    """Main's use case: keep a transcript of each run, for `days` after its end (None: none)."""

    def __init__(
        self,
        *,
        jobs: JobQueue,
        logs: BlobStore,
        conversations: ConversationStore,
        requests: RequestStore,
        due: DueStore,
        days: int | None,
    ) -> None:
        self._jobs = jobs
        self._logs = logs
        self._conversations = conversations
        self._requests = requests
        self._due = due
        self._days = days

    async def order(self, run: Run) -> None:
        """Have the transcript of an ended run written, if transcripts are on. Sends one message."""
        if self._days is not None:
            await self._jobs.send(
                ArchiveRun(run_id=run.run_id, conversation_id=run.conversation_id)
            )

    async def write(self, job: ArchiveRun) -> None:
        """Write a transcript; may be repeated. Raises TransientError when storage is away.

        An order of a deleted conversation writes nothing, and removes what an earlier one wrote
        in the moment of the deletion.
        """
        name = make_transcript_name(job.conversation_id, job.run_id)
        source = await self._read(job)
        if source is None:
            await self._logs.delete(name)
            return
        if self._days is None:
            return
        run = source.run
        if run.ended_at is None:
            raise TransientError(f"run {job.run_id!r} has not ended; its end was told too early")
        owner = source.head.owner if source.request is None else source.request.owner
        end = run.ended_at + timedelta(days=self._days)
        entry = IndexedRun.of(run, owner=owner)
        await self._due.put(Due.of_run(entry, kind="transcript", due_at=end))
        messages = await self._read_messages(source.head, run)
        await self._logs.write(name, write_transcript(source.request, run, messages))
        if await self._read(job) is None:
            await self._logs.delete(name)

    async def _read(self, job: ArchiveRun) -> _Source | None:
        """Read what is stored of the run; None if it is deleted, or is being deleted."""
        found = await self._conversations.load(job.conversation_id, run_id=job.run_id)
        head, run = found.conversation, found.run
        if head is None or run is None or _is_deleted(head, run):
            return None
        stored = await self._requests.find(job.run_id)
        if stored is not None and stored.scrubbed:
            return None
        return _Source(head=head, run=run, request=None if stored is None else stored.request)

    async def _read_messages(self, head: Conversation, run: Run) -> list[Message]:
        """Return the run's messages, oldest first. They follow each other: a conversation has one
        active run."""
        messages: list[Message] = []
        before, started_at = head.next_sequence, run.started_at
        while started_at is not None and before > 0:
            page = await self._conversations.read_history(
                head.conversation_id, before=before, limit=PAGE
            )
            mine = [message for message in page if message.run_id == run.run_id]
            messages = [*mine, *messages]
            is_past = not page or page[0].created_at < started_at - WORST_SKEW
            if is_past or (messages and page[0].run_id != run.run_id):
                break
            before = page[0].sequence
        return messages


def _is_deleted(head: Conversation, run: Run) -> bool:
    """Whether the run belongs to what was deleted.

    A run that started before a deletion is old whatever main's clock said: nothing starts before
    the cleaning is done.
    """
    if head.deleted_at is not None and run.created_at <= head.deleted_at:
        return True
    cleaning = head.cleaning
    return cleaning is not None and (cleaning.messages > 0 or cleaning.after is not None)
