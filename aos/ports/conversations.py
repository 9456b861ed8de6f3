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
        """Return the head and, if `run_id` is given, the row of that run.

        With a head older than the row, a conversation that owes the run's end looks idle: the head
        of a row that is returned is not older than it. (Read both at the same time, and the head
        again if there is a row.) A row that is not returned may have been written since: the save
        that writes it names it as new.
        """
        ...

    async def save(self, step: Step, *, etag: str | None, new_run_id: str | None = None) -> str:
        """Write the step in one transaction, guarded by the head's ETag (None: no head exists).

        `new_run_id` is a run of the step that has no row yet, as far as the caller knows. Returns
        the head's new ETag. Raises StaleWrite if the head's ETag is not `etag` or that run has a
        row, and OutcomeUnknown if the answer was lost.
        """
        ...

    async def read_history(self, conversation_id: str, *, before: int, limit: int) -> list[Message]:
        """Return the messages with sequence in [before - limit, before), oldest first."""
        ...

    async def find_run(self, conversation_id: str, run_id: str) -> Run | None:
        """Return the row of one run, or None while realm has not started it."""
        ...
