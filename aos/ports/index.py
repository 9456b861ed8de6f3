"""Keeps the lists of runs and conversations. Entry point: `RunIndex`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from aos.domain.runs.run import AdmittedRequest, Run
from aos.ports.paging import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedRun:
    """The entry of a run in the lists: its ids and the time of its admission."""

    run_id: str
    conversation_id: str
    agent_id: str
    owner: str
    created_at: datetime

    @classmethod
    def of(cls, run: AdmittedRequest | Run, *, owner: str) -> IndexedRun:
        """Make the entry of this run."""
        admitted = run.created_at if isinstance(run, Run) else run.admitted_at
        return cls(
            run_id=run.run_id,
            conversation_id=run.conversation_id,
            agent_id=run.agent_id,
            owner=owner,
            created_at=admitted,
        )


class RunIndex(Protocol):
    """The lists, table `aosindex`: runs by agent and by owner, newest first."""

    async def add(self, *runs: IndexedRun) -> None:
        """Add admitted runs. Adding one again changes nothing."""
        ...

    async def list_runs(
        self,
        *,
        agent_id: str | None,
        owner: str | None,
        since: datetime | None,
        after: str | None,
        limit: int,
    ) -> Page[IndexedRun]:
        """List runs of an agent, of an owner, of both, or (both None) of everybody, newest
        first."""
        ...

    async def list_conversations(
        self, *, owner: str | None, after: str | None, limit: int
    ) -> Page[IndexedRun]:
        """List one item (the first run) for each conversation, newest first."""
        ...

    async def find_first(self, conversation_id: str) -> IndexedRun | None:
        """Return the first run of a conversation that is not named after it; None if no run of it
        was added."""
        ...
