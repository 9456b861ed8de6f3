"""Keeps conversations, their messages and their runs. Entry point: `ConversationStore`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aos.domain.runs.conversation import Conversation, Message, Step
from aos.domain.runs.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A conversation's head with its ETag (both None: there is none), and one run's row."""

    conversation: Conversation | None = None
    etag: str | None = None
    run: Run | None = None


class ConversationStore(Protocol):
    """The conversations, table `aosconversations`. Realm alone writes."""

    async def load(self, conversation_id: str, *, run_id: str | None = None) -> Loaded:
        """The head and, when `run_id` is given, that run's row, as both stood at one moment.

        A row older than the head makes an ended run look new; a head older than the row makes a
        conversation look idle that owes the run's end. (Where the two are read one after the
        other: the head first, and again when there is a row, until its ETag stands still.)
        """
        ...

    async def save(self, step: Step, *, etag: str | None) -> str:
        """Write the step in one transaction, guarded by the head's ETag (None: no head yet).

        Returns the head's new ETag. Raises StaleWrite when the head is not at `etag`, and
        OutcomeUnknown when the answer was lost.
        """
        ...

    async def history(self, conversation_id: str, *, before: int, limit: int) -> list[Message]:
        """The messages with sequence in [before - limit, before), oldest first."""
        ...

    async def find_run(self, conversation_id: str, run_id: str) -> Run | None:
        """One run's row, or None while realm has not seen the run."""
        ...
