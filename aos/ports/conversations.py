"""Keeps conversations, their messages and their runs. Entry point: `ConversationStore`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aos.domain.runs.conversation import Conversation, Message, Step
from aos.domain.runs.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A conversation's head with its ETag (both None if it does not exist), and the row of one
    run."""

    conversation: Conversation | None = None
    etag: str | None = None
    run: Run | None = None


class ConversationStore(Protocol):
    """The conversations, table `aosconversations`. Only realm writes them."""

    async def load(self, conversation_id: str, *, run_id: str | None = None) -> Loaded:
        """Return the head and, if `run_id` is given, the row of that run, both of the same moment.

        With a row older than the head, an ended run looks new. With a head older than the row, a
        conversation that owes the run's end looks idle. (If they are read one after the other, read
        the head first, and again after the row, until its ETag does not change.)
        """
        ...

    async def save(self, step: Step, *, etag: str | None) -> str:
        """Write the step in one transaction, guarded by the head's ETag (None: no head exists).

        Returns the head's new ETag. Raises StaleWrite if the head's ETag is not `etag`, and
        OutcomeUnknown if the answer was lost.
        """
        ...

    async def read_history(self, conversation_id: str, *, before: int, limit: int) -> list[Message]:
        """Return the messages with sequence in [before - limit, before), oldest first."""
        ...

    async def find_run(self, conversation_id: str, run_id: str) -> Run | None:
        """Return the row of one run, or None while realm has not started it."""
        ...
