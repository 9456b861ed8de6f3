"""Finds the agents of the published catalog. Entry point: `Agents`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from aos.domain.cards.agent_card import AgentCard


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveAgent:
    """An agent as the catalog has it now: may it run, and on which card."""

    agent_id: str
    state: Literal["active", "disabled"]
    digest: str
    card: AgentCard


class Agents(Protocol):
    """The published catalog, as far as runs need it."""

    async def version(self) -> int:
        """The catalog version that `find` judges by (0: nothing published yet)."""
        ...

    async def find(self, agent_id: str, *, at_least: int = 0) -> LiveAgent:
        """The agent; an older catalog than `at_least` is re-read first.

        Raises Refused `agent_not_found` or `agent_removed`.
        """
        ...

    async def card(self, digest: str) -> AgentCard:
        """The card with this digest, published or not any more: what a run has pinned."""
        ...

    async def serves(self, server_id: str) -> bool:
        """Is there an MCP server of this id that is enabled?"""
        ...
