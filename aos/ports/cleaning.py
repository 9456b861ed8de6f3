"""Keeps what is to be cleaned, and removes rows whose time is over. Entry points: `DueStore`,
`RunCleaner`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from aos.domain.codec import OMITTED
from aos.ports.index import IndexedRun

DueKind: TypeAlias = Literal["deletion", "run", "refusal", "usage", "transcript", "items"]
"""`deletion`: the conversation `name`, deleted at `about`. `run`: the rows of the run `name`,
admitted at `about`, which had not ended at their time. `refusal`: the row of a delegation that main
refused. `transcript`: the transcript of the run `name`. `usage`: the usage of the account `name`,
an agent or an owner, on the day `about`. `items`: what waits at the conversation `name`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Something that main cleans, or looks at again, at `due_at`.

    `unused` marks the deletion of a conversation by its age. `first_run_id` is the run that begins
    a conversation that realm had not seen when it was deleted. `again`: realm was told to look once
    more for rows that were written late.
    """

    due_at: datetime
    kind: DueKind
    name: str
    about: datetime
    agent_id: str = ""
    conversation_id: str = ""
    owner: str = ""
    unused: bool = field(default=False, metadata=OMITTED)
    first_run_id: str | None = field(default=None, metadata=OMITTED)
    checks: int = field(default=0, metadata=OMITTED)
    again: bool = field(default=False, metadata=OMITTED)

    @classmethod
    def of_run(cls, run: IndexedRun, *, kind: DueKind, due_at: datetime) -> Due:
        """Make the entry of a run."""
        return cls(
            due_at=due_at,
            kind=kind,
            name=run.run_id,
            about=run.created_at,
            agent_id=run.agent_id,
            conversation_id=run.conversation_id,
            owner=run.owner,
        )

    @property
    def run(self) -> IndexedRun:
        """The run of the entry."""
        return IndexedRun(
            run_id=self.name,
            conversation_id=self.conversation_id,
            agent_id=self.agent_id,
            owner=self.owner,
            created_at=self.about,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How far a list of runs was looked through, from the newest to the oldest.

    What was admitted before `done` has been looked at. `end` is set while a look is under way: at
    what was admitted between the two, after the place `after`. `days` is the age that counts.
    """

    days: int
    done: datetime | None = None
    end: datetime | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OldRun:
    """An entry of the lists. `place` continues after it; `first`: it lists its conversation."""

    run: IndexedRun
    place: str
    first: bool


class DueStore(Protocol):
    """What is to be cleaned, by the time when it is due, table `aosindex`; and the windows."""

    async def put(self, due: Due) -> None:
        """Write it, whether or not it exists."""
        ...

    async def list_due(self, now: datetime, *, limit: int) -> list[Due]:
        """Return at most `limit` with `due_at` <= now, the longest overdue first."""
        ...

    async def drop(self, due: Due) -> None:
        """Remove it if it exists."""
        ...

    async def read_windows(self) -> Mapping[str, Window]:
        """Return all windows by their names."""
        ...

    async def write_window(self, name: str, window: Window) -> None:
        """Write a window over the one before."""
        ...


class RunCleaner(Protocol):
    """The rows of runs and of usage that main removes when their time is over."""

    async def list_old(self, window: Window, *, agent_id: str | None, limit: int) -> list[OldRun]:
        """Return entries of the lists in a window, of one agent or of all, the newest first."""
        ...

    async def find_end(self, run_id: str, *, agent_id: str) -> datetime | None:
        """Return when the run ended, None if its end was not delivered."""
        ...

    async def remove_run(self, run: IndexedRun, *, listed: bool) -> None:
        """Remove the run's request, its tool calls, its record and its place in the lists.

        With `listed`, the entry stays, because it lists a conversation.
        """
        ...

    async def unlist(self, conversation_id: str) -> None:
        """Remove the entry that lists a conversation."""
        ...

    async def remove_usage(self, account: str, *, day: datetime) -> None:
        """Remove what an agent or an owner used on a day."""
        ...
