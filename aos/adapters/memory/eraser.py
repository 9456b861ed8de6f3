"""Removes what belongs to a deleted conversation, in memory. Entry point: `MemoryEraser`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aos.adapters.memory.interception import Interceptor, pass_through
from aos.adapters.memory.tables import MemoryTables
from aos.domain.runs.run import Run
from aos.domain.transcripts import make_transcript_folder
from aos.errors import StaleWrite
from aos.ports.blobs import BlobStore


class MemoryEraser:
    """What a conversation leaves beside its head and messages. Its texts are all in its rows."""

    def __init__(
        self, tables: MemoryTables, *, logs: BlobStore, intercept: Interceptor = pass_through
    ) -> None:
        self._tables = tables
        self._logs = logs
        self._intercept = intercept

    async def list_runs(self, conversation_id: str, *, after: str, limit: int) -> list[Run]:
        """Return run rows in the order of their ids."""

        def act() -> list[Run]:
            rows = self._tables.conversations.get(conversation_id)
            runs = {} if rows is None else rows.runs
            return [runs[run_id] for run_id in sorted(runs) if run_id > after][:limit]

        return await self._intercept("eraser.list_runs", conversation_id, act)

    async def scrub(self, run: Run) -> None:
        """Scrub the rows of the request and of calls; remove what people were asked and said."""

        def act() -> None:
            tables = self._tables
            row = tables.requests.get(run.run_id)
            if row is not None:
                scrubbed = replace(row, request=row.request.scrub(), scrubbed=True)
                tables.requests[run.run_id] = scrubbed
            for key in [key for key in tables.tool_calls if key[0] == run.run_id]:
                tables.tool_calls[key] = tables.tool_calls[key].scrub()
            _forget(tables, run.run_id)
            kept = tables.conversations.get(run.conversation_id)
            if kept is not None:
                for place in [place for place in kept.events if place[0] == run.run_id]:
                    del kept.events[place]
            tables.tell_watchers("eraser.scrub", run.run_id)

        await self._intercept("eraser.scrub", run.run_id, act)

    async def remove_texts(self, conversation_id: str) -> bool:
        """Remove the transcripts."""
        for blob in await self._logs.list(make_transcript_folder(conversation_id)):
            await self._logs.delete(blob.name)
        return True

    async def remove_head(self, conversation_id: str, *, etag: str) -> None:
        """Remove the head and what is left of its partition."""

        def act() -> None:
            rows = self._tables.conversations.get(conversation_id)
            if rows is None:
                return
            if rows.etag != etag:
                raise StaleWrite(f"conversation {conversation_id!r} no longer has the ETag {etag}")
            if rows.messages or rows.runs or rows.events:
                raise AssertionError(f"rows of {conversation_id!r} are left without a head")
            del self._tables.conversations[conversation_id]
            self._tables.tell_watchers("eraser.remove_head", conversation_id)

        await self._intercept("eraser.remove_head", conversation_id, act)


def _forget(tables: MemoryTables, run_id: str) -> None:
    """Remove what people were asked about a run, what they said, and who is told of it."""
    rows: tuple[dict[tuple[str, str], Any], ...] = (
        tables.approvals,
        tables.decisions,
        tables.questions,
        tables.answers,
        tables.pushes,
    )
    for kept in rows:
        for key in [key for key in kept if key[0] == run_id]:
            del kept[key]
    tables.open_approvals -= {key for key in tables.open_approvals if key[0] == run_id}
    tables.open_questions -= {key for key in tables.open_questions if key[0] == run_id}
