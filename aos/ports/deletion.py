"""Removes what belongs to a deleted conversation. Entry point: `Eraser`."""

from __future__ import annotations

from typing import Protocol

from aos.domain.runs.run import Run


class Eraser(Protocol):
    """What a conversation leaves beside its head and its messages. Only realm uses it.

    Each method may be repeated: removing again what is gone changes nothing.
    """

    async def list_runs(self, conversation_id: str, *, after: str, limit: int) -> list[Run]:
        """Return at most `limit` run rows with an id after `after`, in the order of their ids."""
        ...

    async def scrub(self, run: Run) -> None:
        """Scrub the request row of a run and the rows of its tool calls; remove its events,
        the questions to people, their decisions, and the run's large texts."""
        ...

    async def remove_texts(self, conversation_id: str) -> bool:
        """Remove the conversation's transcripts, and its large texts to which no row refers.

        Returns False if some are left for another call.
        """
        ...

    async def remove_head(self, conversation_id: str, *, etag: str) -> None:
        """Remove the head. Raises StaleWrite if its ETag is not `etag`."""
        ...
