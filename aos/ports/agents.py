"""Finds the agents of the published catalog. Entry points: `Agents`, `ListedAgents`,
`WakingAgents`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from aos.domain.cards.agent_card import AgentCard


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveAgent:
    """An agent in the current catalog: whether it may run, and its card."""

    agent_id: str
    state: Literal["active", "disabled"]
    digest: str
    card: AgentCard


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledAgent:
    """An agent that may run and has schedules: its card, and when the card began to serve."""

    agent_id: str
    digest: str
    since: datetime


class WakingAgents(Protocol):
    """The published catalog, for what wakes agents."""

    async def list_scheduled(self, *, max_age_seconds: float) -> list[ScheduledAgent]:
        """Return the agents that may run and have schedules, of a catalog that may be this old."""
        ...

    async def list_listeners(self, event_type: str) -> list[str]:
        """Return the ids of the agents whose card names this type of event, disabled ones too."""
        ...


class ListedAgents(Protocol):
    """The published catalog, for doors that list agents."""

    async def list_live(self, *, after: str, limit: int) -> list[LiveAgent]:
        """Return agents that may run, by id, beginning behind the id `after`."""
        ...


class Agents(Protocol):
    """The published catalog, for runs."""

    async def version(self) -> int:
        """Return the catalog version that `find` uses (0: nothing is published yet)."""
        ...

    async def find(self, agent_id: str, *, at_least: int = 0) -> LiveAgent:
        """Return the agent; first read the catalog again if it is older than `at_least`.

        Raises Refused `agent_not_found` or `agent_removed`.
        """
        ...

    async def card(self, digest: str) -> AgentCard:
        """Return the card with this digest, also if it is not published any more. Runs pin their
        card."""
        ...

    async def list_purposes(self, agent_ids: Sequence[str]) -> Mapping[str, str]:
        """Return the purposes of those agents that may run, by id."""
        ...

    async def serves(self, server_id: str) -> bool:
        """Whether an enabled MCP server with this id exists."""
        ...
